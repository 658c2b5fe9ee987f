//! Units of measurement: those of the SenML registry.

use crate::cbor::macros::codes;

codes! {
    /// A unit of the SenML registries (RFC 8428, RFC 8798 and what was registered since), by its
    /// symbol. On the wire it is a number of this table, which only grows.
    pub enum Unit {
        /// A number, a text or a switch without a unit.
        None = 0, "none";
        /// Metre.
        Metre = 1, "m";
        /// Kilogram.
        Kilogram = 2, "kg";
        /// Gram (better: kilogram).
        Gram = 3, "g";
        /// Second.
        Second = 4, "s";
        /// Ampere.
        Ampere = 5, "A";
        /// Kelvin.
        Kelvin = 6, "K";
        /// Candela.
        Candela = 7, "cd";
        /// Mole.
        Mole = 8, "mol";
        /// Hertz.
        Hertz = 9, "Hz";
        /// Radian.
        Radian = 10, "rad";
        /// Steradian.
        Steradian = 11, "sr";
        /// Newton.
        Newton = 12, "N";
        /// Pascal.
        Pascal = 13, "Pa";
        /// Joule.
        Joule = 14, "J";
        /// Watt.
        Watt = 15, "W";
        /// Coulomb.
        Coulomb = 16, "C";
        /// Volt.
        Volt = 17, "V";
        /// Farad.
        Farad = 18, "F";
        /// Ohm.
        Ohm = 19, "Ohm";
        /// Siemens.
        Siemens = 20, "S";
        /// Weber.
        Weber = 21, "Wb";
        /// Tesla.
        Tesla = 22, "T";
        /// Henry.
        Henry = 23, "H";
        /// Degree Celsius.
        Celsius = 24, "Cel";
        /// Lumen.
        Lumen = 25, "lm";
        /// Lux.
        Lux = 26, "lx";
        /// Becquerel.
        Becquerel = 27, "Bq";
        /// Gray.
        Gray = 28, "Gy";
        /// Sievert.
        Sievert = 29, "Sv";
        /// Katal.
        Katal = 30, "kat";
        /// Square metre.
        SquareMetre = 31, "m2";
        /// Cubic metre.
        CubicMetre = 32, "m3";
        /// Litre (better: cubic metre).
        Litre = 33, "l";
        /// Metre per second.
        MetrePerSecond = 34, "m/s";
        /// Metre per square second.
        MetrePerSquareSecond = 35, "m/s2";
        /// Cubic metre per second.
        CubicMetrePerSecond = 36, "m3/s";
        /// Litre per second (better: cubic metre per second).
        LitrePerSecond = 37, "l/s";
        /// Watt per square metre.
        WattPerSquareMetre = 38, "W/m2";
        /// Candela per square metre.
        CandelaPerSquareMetre = 39, "cd/m2";
        /// Bit.
        Bit = 40, "bit";
        /// Bit per second.
        BitPerSecond = 41, "bit/s";
        /// Degree of latitude.
        Latitude = 42, "lat";
        /// Degree of longitude.
        Longitude = 43, "lon";
        /// pH value.
        Ph = 44, "pH";
        /// Decibel.
        Decibel = 45, "dB";
        /// Decibel relative to one watt.
        DecibelWatt = 46, "dBW";
        /// Bel of sound pressure (better: decibel).
        BelSoundPressure = 47, "Bspl";
        /// Counter value.
        Count = 48, "count";
        /// Ratio.
        Ratio = 49, "/";
        /// Ratio (better: `/`).
        RatioPercent = 50, "%";
        /// Relative humidity in percent.
        RelativeHumidity = 51, "%RH";
        /// Remaining battery energy in percent.
        BatteryPercent = 52, "%EL";
        /// Remaining battery energy in seconds.
        BatterySeconds = 53, "EL";
        /// Rate per second.
        PerSecond = 54, "1/s";
        /// Rate per minute (better: per second).
        PerMinute = 55, "1/min";
        /// Heart rate in beats per minute (better: per second).
        BeatPerMinute = 56, "beat/min";
        /// Heart beats, counted.
        Beats = 57, "beats";
        /// Siemens per metre.
        SiemensPerMetre = 58, "S/m";
        /// Byte.
        Byte = 59, "B";
        /// Volt-ampere.
        VoltAmpere = 60, "VA";
        /// Volt-ampere second.
        VoltAmpereSecond = 61, "VAs";
        /// Volt-ampere reactive.
        Var = 62, "var";
        /// Volt-ampere-reactive second.
        VarSecond = 63, "vars";
        /// Joule per metre.
        JoulePerMetre = 64, "J/m";
        /// Kilogram per cubic metre.
        KilogramPerCubicMetre = 65, "kg/m3";
        /// Degree of an angle (better: radian).
        Degree = 66, "deg";
        /// Nephelometric turbidity unit.
        Turbidity = 67, "NTU";
        /// Millisecond.
        Millisecond = 68, "ms";
        /// Minute.
        Minute = 69, "min";
        /// Hour.
        Hour = 70, "h";
        /// Megahertz.
        Megahertz = 71, "MHz";
        /// Kilowatt.
        Kilowatt = 72, "kW";
        /// Kilovolt-ampere.
        KilovoltAmpere = 73, "kVA";
        /// Kilovar.
        Kilovar = 74, "kvar";
        /// Ampere-hour.
        AmpereHour = 75, "Ah";
        /// Watt-hour.
        WattHour = 76, "Wh";
        /// Kilowatt-hour.
        KilowattHour = 77, "kWh";
        /// Var-hour.
        VarHour = 78, "varh";
        /// Kilovar-hour.
        KilovarHour = 79, "kvarh";
        /// Kilovolt-ampere-hour.
        KilovoltAmpereHour = 80, "kVAh";
        /// Watt-hour per kilometre.
        WattHourPerKilometre = 81, "Wh/km";
        /// Kibibyte.
        Kibibyte = 82, "KiB";
        /// Gigabyte.
        Gigabyte = 83, "GB";
        /// Megabit per second.
        MegabitPerSecond = 84, "Mbit/s";
        /// Byte per second.
        BytePerSecond = 85, "B/s";
        /// Megabyte per second.
        MegabytePerSecond = 86, "MB/s";
        /// Millivolt.
        Millivolt = 87, "mV";
        /// Milliampere.
        Milliampere = 88, "mA";
        /// Decibel relative to one milliwatt.
        DecibelMilliwatt = 89, "dBm";
        /// Microgram per cubic metre.
        MicrogramPerCubicMetre = 90, "ug/m3";
        /// Millimetre per hour.
        MillimetrePerHour = 91, "mm/h";
        /// Metre per hour.
        MetrePerHour = 92, "m/h";
        /// Parts per million.
        PartsPerMillion = 93, "ppm";
        /// Percent.
        Percent = 94, "/100";
        /// Per mille.
        Permille = 95, "/1000";
        /// Hectopascal.
        Hectopascal = 96, "hPa";
        /// Millimetre.
        Millimetre = 97, "mm";
        /// Centimetre.
        Centimetre = 98, "cm";
        /// Kilometre.
        Kilometre = 99, "km";
        /// Kilometre per hour.
        KilometrePerHour = 100, "km/h";
        /// Parts per billion.
        PartsPerBillion = 101, "ppb";
        /// Parts per trillion.
        PartsPerTrillion = 102, "ppt";
        /// Volt-ampere-hour.
        VoltAmpereHour = 103, "VAh";
        /// Milligram per litre.
        MilligramPerLitre = 104, "mg/l";
        /// Microgram per litre.
        MicrogramPerLitre = 105, "ug/l";
        /// Gram per litre.
        GramPerLitre = 106, "g/l";
    }
}

impl Unit {
    /// The unit that this one is a multiple of, with scale and offset: a value in this unit times the
    /// scale plus the offset is the value in the other. Units that are no multiples give `None`.
    #[must_use]
    pub const fn primary(self) -> Option<(Self, f64, f64)> {
        Some(match self {
            Self::Millisecond => (Self::Second, 1e-3, 0.0),
            Self::Minute => (Self::Second, 60.0, 0.0),
            Self::Hour => (Self::Second, 3600.0, 0.0),
            Self::Megahertz => (Self::Hertz, 1e6, 0.0),
            Self::Kilowatt => (Self::Watt, 1e3, 0.0),
            Self::KilovoltAmpere => (Self::VoltAmpere, 1e3, 0.0),
            Self::Kilovar => (Self::Var, 1e3, 0.0),
            Self::AmpereHour => (Self::Coulomb, 3600.0, 0.0),
            Self::WattHour => (Self::Joule, 3600.0, 0.0),
            Self::KilowattHour => (Self::Joule, 3.6e6, 0.0),
            Self::VarHour => (Self::VarSecond, 3600.0, 0.0),
            Self::KilovarHour => (Self::VarSecond, 3.6e6, 0.0),
            Self::VoltAmpereHour => (Self::VoltAmpereSecond, 3600.0, 0.0),
            Self::KilovoltAmpereHour => (Self::VoltAmpereSecond, 3.6e6, 0.0),
            Self::WattHourPerKilometre => (Self::JoulePerMetre, 3.6, 0.0),
            Self::Kibibyte => (Self::Byte, 1024.0, 0.0),
            Self::Gigabyte => (Self::Byte, 1e9, 0.0),
            Self::MegabitPerSecond => (Self::BitPerSecond, 1e6, 0.0),
            Self::BytePerSecond => (Self::BitPerSecond, 8.0, 0.0),
            Self::MegabytePerSecond => (Self::BitPerSecond, 8e6, 0.0),
            Self::Millivolt => (Self::Volt, 1e-3, 0.0),
            Self::Milliampere => (Self::Ampere, 1e-3, 0.0),
            Self::DecibelMilliwatt => (Self::DecibelWatt, 1.0, -30.0),
            Self::MicrogramPerCubicMetre => (Self::KilogramPerCubicMetre, 1e-9, 0.0),
            Self::MilligramPerLitre => (Self::KilogramPerCubicMetre, 1e-3, 0.0),
            Self::MicrogramPerLitre => (Self::KilogramPerCubicMetre, 1e-6, 0.0),
            Self::GramPerLitre => (Self::KilogramPerCubicMetre, 1.0, 0.0),
            Self::MillimetrePerHour => (Self::MetrePerSecond, 1.0 / 3.6e6, 0.0),
            Self::MetrePerHour => (Self::MetrePerSecond, 1.0 / 3600.0, 0.0),
            Self::KilometrePerHour => (Self::MetrePerSecond, 1.0 / 3.6, 0.0),
            Self::PartsPerMillion => (Self::Ratio, 1e-6, 0.0),
            Self::PartsPerBillion => (Self::Ratio, 1e-9, 0.0),
            Self::PartsPerTrillion => (Self::Ratio, 1e-12, 0.0),
            Self::Percent => (Self::Ratio, 1e-2, 0.0),
            Self::Permille => (Self::Ratio, 1e-3, 0.0),
            Self::Hectopascal => (Self::Pascal, 100.0, 0.0),
            Self::Millimetre => (Self::Metre, 1e-3, 0.0),
            Self::Centimetre => (Self::Metre, 1e-2, 0.0),
            Self::Kilometre => (Self::Metre, 1e3, 0.0),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn symbols_and_codes_are_unique_and_without_gaps() {
        let names: BTreeSet<&str> = Unit::ALL.iter().map(|unit| unit.name()).collect();
        assert_eq!(names.len(), Unit::ALL.len());
        for (code, unit) in Unit::ALL.iter().enumerate() {
            assert_eq!(usize::from(unit.code()), code);
            assert_eq!(Unit::from_name(unit.name()), Some(*unit));
        }
    }

    #[test]
    fn every_multiple_leads_to_a_unit_that_is_none() {
        for unit in Unit::ALL {
            if let Some((primary, scale, _)) = unit.primary() {
                assert_eq!(primary.primary(), None, "{unit}");
                assert!(scale > 0.0);
            }
        }
        // RFC 8798 section 4: 10 dBm are -20 dBW, 100 ms are 0.1 s.
        assert_eq!(Unit::DecibelMilliwatt.primary(), Some((Unit::DecibelWatt, 1.0, -30.0)));
        assert_eq!(Unit::Millisecond.primary(), Some((Unit::Second, 1e-3, 0.0)));
    }
}
