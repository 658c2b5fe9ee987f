import { useState } from 'preact/hooks';
import type { ComponentChildren, JSX } from 'preact';
import type { Mesh } from '../mesh';
import type { Share } from '../api';

export interface ViewProps { mesh: Mesh; open: (at: string) => void }

/// What is there instead of an empty table.
export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

export function State({ state }: { state?: string }) {
  return <span class={`state ${state ?? 'unknown'}`}>{state ?? 'unknown'}</span>;
}

/// How much of something is used, and what is left in words.
export function Used({ share, text }: { share: Share; text: (count: number) => string }) {
  if (share.total === 0) return <span class="dim">–</span>;
  const used = (share.total - share.free) / share.total;
  const level = used > 0.9 ? 'high' : used > 0.7 ? 'some' : '';
  return (
    <span class="used" title={`${text(share.total - share.free)} of ${text(share.total)} used`}>
      <meter class={level} min={0} max={1} value={used} />
      <small>{text(share.free)} left</small>
    </span>
  );
}

export interface Column<T> {
  title: string;
  /// What rows are sorted by; the cell's text if absent.
  by: (row: T) => string | number;
  cell: (row: T) => ComponentChildren;
  /// It is left out where the page is narrow.
  wide?: boolean;
}

/// A table whose head sorts it, with a field that filters it.
export function Table<T>({ rows, columns, id, open, empty, search }: {
  rows: T[];
  columns: Column<T>[];
  id: (row: T) => string;
  open: (row: T) => void;
  empty: string;
  search: (row: T) => string;
}): JSX.Element {
  const [sorted, sort] = useState({ column: 0, down: false });
  const [text, filter] = useState('');
  if (rows.length === 0) return <Empty>{empty}</Empty>;
  const by = columns[sorted.column]!.by;
  const words = text.toLowerCase().split(/\s+/);
  const shown = rows
    .filter((row) => words.every((word) => search(row).toLowerCase().includes(word)))
    .sort((a, b) => {
      const [x, y] = [by(a), by(b)];
      const order = typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true });
      return sorted.down ? -order : order;
    });
  return (
    <>
      <input class="filter" type="search" placeholder="Filter" aria-label="Filter" value={text}
        onInput={(event) => filter(event.currentTarget.value)} />
      <div class="scroll">
        <table>
          <thead>
            <tr>
              {columns.map((column, at) => (
                <th class={column.wide ? 'wide-only' : ''} aria-sort={at === sorted.column ? (sorted.down ? 'descending' : 'ascending') : undefined}>
                  <button onClick={() => sort({ column: at, down: at === sorted.column && !sorted.down })}>{column.title}</button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <tr key={id(row)} tabIndex={0} onClick={() => open(row)} onKeyDown={(event) => event.key === 'Enter' && open(row)}>
                {columns.map((column) => <td class={column.wide ? 'wide-only' : ''}>{column.cell(row)}</td>)}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {shown.length === 0 && <Empty>Nothing matches the filter.</Empty>}
    </>
  );
}
