#!/usr/bin/env python3
"""Makes city-air.csv: rows as those of RIoTBench's SYS sample, out of nothing but a seed.

Twelve sensors, each with a temperature and humidity that wander over a day, dust that comes in clouds,
and the faults that real ones have: values that cannot be true, values that are missing, a sensor that
says -1. One row: milliseconds, a comma, a SenML object whose numbers are texts.
"""

import json
import math
import random

ROWS = 360
random.seed(1422748810)


def name():
    letters = "0123456789abcdefghijklmnopqrstuvwxyz"
    return "ci4" + "".join(random.choice(letters) for _ in range(22))


SENSORS = [
    {
        "name": name(),
        "latitude": round(46.15 + random.random() / 10, 6),
        "longitude": round(6.1 + random.random() / 10, 6),
        "warm": random.uniform(4, 26),
        "damp": random.uniform(35, 75),
        "dust": random.choice([80, 400, 1500]),
    }
    for _ in range(12)
]


def row(number):
    # One sensor comes late, so that it is new when the others are known.
    sensor = SENSORS[11] if number % 40 == 39 else random.choice(SENSORS[:11])
    hour = number / ROWS * 24
    day = math.sin((hour - 9) / 24 * 2 * math.pi)
    temperature = sensor["warm"] + 5 * day + random.gauss(0, 0.6)
    humidity = min(99.9, sensor["damp"] - 12 * day + random.gauss(0, 2))
    dust = sensor["dust"] * random.lognormvariate(0, 0.5)
    fault = random.random()
    if fault < 0.03:
        temperature = random.choice([-127.0, 85.0])
    elif fault < 0.05:
        humidity = 130.0
    elif fault < 0.08:
        temperature = None
    elif fault < 0.10:
        humidity = None
    elif fault < 0.14:
        dust = -1.0
    time = 1422748800000 + number * 1000
    values = [
        ("longitude", "lon", sensor["longitude"]),
        ("latitude", "lat", sensor["latitude"]),
        ("temperature", "far", None if temperature is None else round(temperature, 1)),
        ("humidity", "per", None if humidity is None else round(humidity, 1)),
        ("light", "per", round(max(0, 900 * math.sin((hour - 6) / 12 * math.pi)))),
        ("dust", "per", round(dust, 2)),
        ("airquality_raw", "per", random.randint(8, 160)),
    ]
    source = sensor["name"] + str(random.randint(1, 27))
    elements = [{"u": "string", "n": "source", "sv": source}]
    elements += [{"v": str(v), "u": u, "n": n} for n, u, v in values if v is not None]
    return f"{time}," + json.dumps({"e": elements, "bt": time}, separators=(",", ":"))


with open(__file__.rpartition("/")[0] + "/city-air.csv" if "/" in __file__ else "city-air.csv", "w") as file:
    file.writelines(row(number) + "\n" for number in range(ROWS))
