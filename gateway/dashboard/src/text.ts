// Numbers and times for people.

const SCALES = ['', 'k', 'M', 'G'];

export function bytes(count: number): string {
  let scale = 0;
  while (count >= 1000 && scale < 3) {
    count /= 1000;
    scale += 1;
  }
  return `${count >= 100 || scale === 0 ? Math.round(count) : count.toFixed(1)} ${SCALES[scale]}B`;
}

export function count(count: number): string {
  let scale = 0;
  while (count >= 10_000 && scale < 3) {
    count /= 1000;
    scale += 1;
  }
  return `${scale === 0 ? Math.round(count) : count.toFixed(count < 100 ? 1 : 0)}${SCALES[scale]}`;
}

export function span(millis: number): string {
  const seconds = Math.max(0, Math.round(millis / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

export function clock(millis: number): string {
  return new Date(millis).toLocaleTimeString(undefined, { hour12: false });
}

/// How values of a unit (SenML's name) are shown: by what they are multiplied, and what stands behind them.
export function scale(unit: string | undefined): [factor: number, sign: string] {
  switch (unit) {
    case undefined: case 'none': case 'count': return [1, ''];
    case '/': return [100, '%'];
    case 'Cel': return [1, '°C'];
    default: return [1, unit];
  }
}

export function number(value: unknown): string {
  if (typeof value === 'number') {
    return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)));
  }
  return typeof value === 'string' ? value : JSON.stringify(value) ?? '';
}
