import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Series } from '../mesh';
import { scale } from '../text';

/// Lines of a chart: more cannot be told apart.
const LINES = 6;
const HEIGHT = 220;

const style = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/// The last values of a topic's numbers over time.
export function Chart({ series, units }: { series: Series; units?: Map<string, string> }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const names = [...series.columns.keys()].slice(0, LINES);
  const column = (name: string) => {
    const [factor] = scale(units?.get(name));
    const values = series.columns.get(name)!;
    return factor === 1 ? values : values.map((value) => (value === null ? null : value * factor));
  };
  const data = () => [series.times, ...names.map(column)] as uPlot.AlignedData;
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const axis = { stroke: style('--dim'), grid: { stroke: style('--rule'), width: 1 }, ticks: { stroke: style('--rule'), width: 1 } };
    const chart = new uPlot({
      width: element.clientWidth || 300,
      height: HEIGHT,
      // As wide as the longest number.
      axes: [axis, { ...axis, size: (_, values) => 24 + 8 * Math.max(4, ...(values ?? []).map((text) => text?.length ?? 0)) }],
      series: [{}, ...names.map((name, at) => ({
        label: [name, scale(units?.get(name))[1]].join(' ').trim(),
        stroke: style(`--line-${at}`),
        width: 1.5,
        points: { show: false },
        spanGaps: true,
      }))],
    }, data(), element);
    plot.current = chart;
    const observer = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      chart.destroy();
      plot.current = undefined;
    };
  }, [names.join('\n')]);
  useEffect(() => plot.current?.setData(data()), [series.last]);
  return <div class="chart" ref={place} />;
}
