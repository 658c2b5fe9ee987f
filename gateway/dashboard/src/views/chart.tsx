import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Series } from '../mesh';
import { clock, number, scale } from '../text';

/// Fields of a topic that are drawn: more take longer to find than to ask for.
const PANELS = 8;
const HEIGHT = 130;

const style = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/// The last values of a topic's numbers over time, each on a scale of its own: what they measure differs by
/// orders of magnitude. One time is pointed at in all of them.
export function Chart({ topic, series, units }: { topic: string; series: Series; units?: Map<string, string> }) {
  const names = [...series.columns.keys()];
  return (
    <div class="chart">
      {names.slice(0, PANELS).map((name, at) => <Panel key={name} topic={topic} name={name} unit={units?.get(name)} series={series} line={at % 6} />)}
      {names.length > PANELS && <p class="dim">and {names.slice(PANELS).join(', ')}</p>}
    </div>
  );
}

function Panel({ topic, name, unit, series, line }: { topic: string; name: string; unit?: string; series: Series; line: number }) {
  const place = useRef<HTMLDivElement>(null);
  const pointed = useRef<HTMLSpanElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const [factor, sign] = scale(unit);
  const column = () => {
    const values = series.columns.get(name) ?? [];
    return factor === 1 ? values : values.map((value) => (value === null ? null : value * factor));
  };
  const data = () => [series.times, column()] as uPlot.AlignedData;
  /// Says the value that is pointed at, or else the last one.
  const tell = (chart: uPlot) => {
    const values = chart.data[1];
    const value = values?.[chart.cursor.idx ?? values.length - 1];
    if (pointed.current) pointed.current.textContent = value === undefined || value === null ? '–' : `${number(value)} ${sign}`;
  };
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const axis = { stroke: style('--dim'), grid: { stroke: style('--rule'), width: 1 }, ticks: { stroke: style('--rule'), width: 1 } };
    const chart = new uPlot({
      width: element.clientWidth || 300,
      height: HEIGHT,
      legend: { show: false },
      cursor: { sync: { key: topic }, y: false },
      axes: [
        { ...axis, size: 30, space: 75, values: (_, times) => times.map((time) => clock(time * 1000)) },
        // As wide as the longest number, and the same in most panels, so that their times stand below each other.
        { ...axis, size: (_, values) => 16 + 8 * Math.max(6, ...(values ?? []).map((text) => text?.length ?? 0)), space: 24 },
      ],
      series: [{}, { stroke: style(`--line-${line}`), width: 1.5, points: { show: false }, spanGaps: true }],
      hooks: { setCursor: [tell], setData: [tell] },
    }, data(), element);
    plot.current = chart;
    tell(chart);
    const observer = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      chart.destroy();
      plot.current = undefined;
    };
  }, [topic, name, unit]);
  useEffect(() => plot.current?.setData(data()), [series.last]);
  return (
    <figure>
      <figcaption><span>{name}</span><span class="value" ref={pointed} /></figcaption>
      <div ref={place} />
    </figure>
  );
}
