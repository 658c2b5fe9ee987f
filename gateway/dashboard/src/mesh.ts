// What is known of the mesh, kept up to date by server-sent events. Views are told ten times a second
// at most, however many events there are. Everything that grows has a bound.

import {
  EVENTS, Unauthorized, get, stream,
  type Event, type Instance, type LogLine, type Migration, type Mqtt, type Node, type Pipeline,
  type Site, type Topic, type Value,
} from './api';

/// Points of a chart.
const POINTS = 600;
/// Topics whose values are kept.
const TOPICS = 256;
/// Lines of the log.
const LINES = 500;
/// Migrations.
const MIGRATIONS = 50;
/// Milliseconds between two turns of the views.
const PACE = 100;
/// Milliseconds between looks at what no event tells.
const LOOK = 15_000;

/// The last values of a topic: times in seconds, and a column for each field that is a number.
export interface Series {
  last: Value;
  /// When it came, by this machine's clock.
  at: number;
  times: number[];
  columns: Map<string, (number | null)[]>;
}

export type Line = 'connecting' | 'open' | 'lost' | 'unauthorized';

export class Mesh {
  line: Line = 'connecting';
  /// Since when the line is as it is.
  since = Date.now();
  site?: Site;
  mqtt?: Mqtt;
  nodes = new Map<string, Node>();
  instances = new Map<number, Instance>();
  pipelines = new Map<string, Pipeline>();
  migrations = new Map<string, Migration>();
  series = new Map<string, Series>();
  units = new Map<string, Map<string, string>>();
  log: LogLine[] = [];
  /// When each node was heard last, by this machine's clock.
  heard = new Map<string, number>();

  private watchers = new Set<() => void>();
  private due = 0;
  private source?: EventSource;
  private fresh = false;

  watch(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  start(): void {
    this.source?.close();
    const source = stream();
    this.source = source;
    source.onopen = () => {
      this.fresh = true;
      this.turn('open');
      void this.look();
    };
    source.onerror = () => {
      this.turn('lost');
      // A browser comes again by itself, unless it was refused.
      if (source.readyState === EventSource.CLOSED) {
        void this.look();
        setTimeout(() => this.source === source && this.line !== 'unauthorized' && this.start(), 2_000);
      }
    };
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => this.take(JSON.parse((event as MessageEvent<string>).data) as Event));
    }
    setInterval(() => this.line === 'open' && void this.look(), LOOK);
  }

  /// Looks at what no event tells: that a node was heard is none.
  private async look(): Promise<void> {
    try {
      for (const node of (await get<{ nodes: Node[] }>('nodes')).nodes) this.hear(node);
      this.site = (await get<{ site: Site }>('site')).site;
      for (const topic of (await get<{ topics: Topic[] }>('topics')).topics) {
        this.units.set(topic.topic, new Map(topic.schema.fields.map((field) => [field.name, field.unit])));
      }
      if (this.log.length === 0) this.log = (await get<{ log: LogLine[] }>('log')).log.slice(-LINES);
      this.changed();
    } catch (error) {
      if (error instanceof Unauthorized) this.turn('unauthorized');
    }
  }

  /// What an instance is doing, as far as its node can still be believed.
  stateOf(instance: Instance): string | undefined {
    return this.nodes.get(instance.node)?.state === 'offline' ? 'lost' : instance.state;
  }

  private turn(line: Line): void {
    if (this.line !== line) {
      this.line = line;
      this.since = Date.now();
    }
    this.changed();
  }

  private take(event: Event): void {
    // The first event behind an opened line begins with all there is.
    if (this.fresh) {
      this.fresh = false;
      for (const map of [this.nodes, this.instances, this.pipelines, this.migrations]) map.clear();
    }
    if ('node' in event) {
      this.nodes.set(event.node.name, event.node);
      this.hear(event.node);
    } else if ('instance' in event) {
      this.instances.set(event.instance.instance, event.instance);
    } else if ('pipeline' in event) {
      this.pipelines.set(event.pipeline.name, event.pipeline);
    } else if ('migration' in event) {
      const { instance, epoch } = event.migration;
      bound(this.migrations, MIGRATIONS);
      this.migrations.set(`${instance}.${epoch}`, event.migration);
    } else if ('value' in event) {
      this.value(event.value);
    } else if ('log' in event) {
      this.log.push(event.log);
      if (this.log.length > LINES) this.log.splice(0, this.log.length - LINES);
    } else if ('mqtt' in event) {
      this.mqtt = event.mqtt;
    } else if ('gone' in event) {
      const gone = event.gone;
      if ('node' in gone) this.nodes.delete(gone.node);
      else if ('instance' in gone) this.instances.delete(gone.instance);
      else if ('pipeline' in gone) this.pipelines.delete(gone.pipeline);
      else if ('topic' in gone) this.series.delete(gone.topic);
    }
    this.changed();
  }

  private hear(node: Node): void {
    if (node.seen_ms !== undefined) this.heard.set(node.name, Date.now() - node.seen_ms);
  }

  private value(value: Value): void {
    let series = this.series.get(value.topic);
    if (series?.last.seq === value.seq && series.last.epoch === value.epoch) return;
    if (!series) {
      bound(this.series, TOPICS);
      series = { last: value, at: 0, times: [], columns: new Map() };
      this.series.set(value.topic, series);
    }
    series.last = value;
    // The first one may have come long ago.
    const sampled = value.sampled_us === undefined ? Date.now() : value.sampled_us / 1e3;
    series.at = series.at === 0 ? Math.min(Date.now(), sampled) : Date.now();
    const time = value.sampled_us === undefined ? series.at / 1e3 : value.sampled_us / 1e6;
    // A chart's times rise.
    if (time <= (series.times.at(-1) ?? 0)) return;
    for (const name of fields(value)) {
      if (typeof value.value[name] === 'number' && !series.columns.has(name)) {
        series.columns.set(name, series.times.map(() => null));
      }
    }
    series.times.push(time);
    for (const [name, column] of series.columns) {
      const number = value.value[name];
      column.push(typeof number === 'number' ? number : null);
      if (column.length > POINTS) column.shift();
    }
    if (series.times.length > POINTS) series.times.shift();
  }

  private changed(): void {
    if (this.due) return;
    this.due = window.setTimeout(() => {
      this.due = 0;
      for (const watcher of this.watchers) watcher();
    }, PACE);
  }
}

/// The fields of a message, without what goes with every message.
export function fields(value: Value): string[] {
  return Object.keys(value.value).filter((key) => !/^_?(time|seq|epoch)$/.test(key));
}

/// Makes room for one more: the oldest goes.
function bound<K, V>(map: Map<K, V>, most: number): void {
  if (map.size < most) return;
  const oldest = map.keys().next();
  if (!oldest.done) map.delete(oldest.value);
}
