import { useEffect, useRef, useState } from 'preact/hooks';
import { clock } from '../text';
import { Empty, type ViewProps } from './common';

const LEVELS = ['error', 'warning', 'info', 'debug'];
/// Lines where the log is one of several things.
const BRIEF = 12;

export function Log({ mesh, brief }: ViewProps & { brief?: boolean }) {
  const [level, least] = useState('debug');
  const [text, filter] = useState('');
  const list = useRef<HTMLOListElement>(null);
  const follows = useRef(true);
  const last = mesh.log.at(-1);
  useEffect(() => {
    const element = list.current;
    if (element && follows.current) element.scrollTop = element.scrollHeight;
  }, [last, level, text]);
  const words = text.toLowerCase();
  const serious = (of: string) => LEVELS.indexOf(of) <= LEVELS.indexOf(level);
  const matching = mesh.log.filter((line) => serious(line.level)
    && [line.node, line.instance, line.text].join(' ').toLowerCase().includes(words));
  const shown = brief ? matching.slice(-BRIEF) : matching;
  return (
    <>
      {!brief && (
        <div class="tools">
          <input class="filter" type="search" placeholder="Filter" aria-label="Filter" value={text} onInput={(event) => filter(event.currentTarget.value)} />
          <select aria-label="Level" value={level} onChange={(event) => least(event.currentTarget.value)}>
            {LEVELS.map((one) => <option value={one}>{one}</option>)}
          </select>
        </div>
      )}
      {shown.length === 0
        ? <Empty>No lines{mesh.log.length > 0 ? ' match' : ' yet'}.</Empty>
        : (
          <ol class={brief ? 'log brief' : 'log'} ref={list} onScroll={(event) => {
            const { scrollTop, clientHeight, scrollHeight } = event.currentTarget;
            follows.current = scrollTop + clientHeight >= scrollHeight - 8;
          }}>
            {shown.map((line) => (
              <li class={line.level} key={`${line.node ?? ''} ${line.number} ${line.at ?? ''}`}>
                <time>{line.at === undefined ? '' : clock(line.at)}</time>
                <b>{line.instance ?? line.node ?? 'gateway'}</b> {line.text}
              </li>
            ))}
          </ol>
        )}
    </>
  );
}
