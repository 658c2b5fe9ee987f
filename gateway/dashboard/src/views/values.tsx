import { useState } from 'preact/hooks';
import { fields } from '../mesh';
import { number, span } from '../text';
import { Chart } from './chart';
import { Empty, type ViewProps } from './common';

/// Milliseconds after which a value is shown as old.
const OLD = 60_000;

export function Values({ mesh }: ViewProps) {
  const [chosen, choose] = useState<string>();
  const topics = [...mesh.series].sort(([a], [b]) => a.localeCompare(b));
  if (topics.length === 0) return <Empty>No values yet. What a pipeline's <code>[bridge]</code> publishes is shown here.</Empty>;
  // What has numbers is worth a chart.
  const shown = chosen && mesh.series.has(chosen) ? chosen : topics.find(([, series]) => series.columns.size > 0)?.[0];
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
                  const unit = mesh.units.get(topic)?.get(name);
                  return <span><small>{name}</small> {number(last.value[name])}{unit && <small> {unit}</small>} </span>;
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
          {series.columns.size > 0
            ? <Chart key={shown} series={series} units={mesh.units.get(shown)} />
            : <Empty>Its messages have no numbers.</Empty>}
        </div>
      )}
    </div>
  );
}
