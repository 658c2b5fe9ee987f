import { useState } from 'preact/hooks';
import { fields } from '../mesh';
import { number, scale, span } from '../text';
import { Chart } from './chart';
import { Empty, type ViewProps } from './common';

/// Milliseconds after which a value is shown as old.
const OLD = 60_000;

export function Values({ mesh }: ViewProps) {
  const [chosen, choose] = useState<string>();
  const topics = [...mesh.series].sort(([a], [b]) => a.localeCompare(b));
  if (topics.length === 0) return <Empty>No values yet. What a pipeline's <code>[bridge]</code> publishes is shown here.</Empty>;
  // What has most numbers to show.
  const size = (topic: string) => {
    const { times, columns } = mesh.series.get(topic)!;
    return columns.size > 0 ? times.length : 0;
  };
  const most = topics.map(([topic]) => topic).reduce((a, b) => (size(b) > size(a) ? b : a));
  const shown = chosen && mesh.series.has(chosen) ? chosen : most;
  const series = shown === undefined ? undefined : mesh.series.get(shown);
  return (
    <div class="values">
      <ul>
        {topics.map(([topic, { last, at }]) => (
          <li key={topic}>
            <button class={topic === shown ? 'chosen' : ''} onClick={() => choose(topic)}>
              <span class="topic">{topic}</span>
              <span class={Date.now() - at > OLD ? 'value old' : 'value'}>
                {fields(last).slice(0, 4).map((name) => {
                  const value = last.value[name];
                  const [factor, sign] = scale(mesh.units.get(topic)?.get(name));
                  return <span><small>{name}</small> {number(typeof value === 'number' ? value * factor : value)}{sign && <small> {sign}</small>} </span>;
                })}
              </span>
              <small class="dim">{span(Date.now() - at)} ago</small>
            </button>
          </li>
        ))}
      </ul>
      {series && shown && (
        <div>
          <h3>{shown}</h3>
          {series.columns.size === 0 ? <Empty>Its messages have no numbers.</Empty>
            : series.times.length < 2 ? <Empty>A chart begins with the second value.</Empty>
            : <Chart key={shown} topic={shown} series={series} units={mesh.units.get(shown)} />}
        </div>
      )}
    </div>
  );
}
