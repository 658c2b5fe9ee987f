// What the gateway says: the JSON of `gateway/core/src/api`. Answers and events grow, so that nothing
// here may depend on a key being unknown.

export interface Share { total: number; free: number }

export interface Link { to: string; address: string; kind: string; quality: number; mtu: number }

export interface Node {
  name: string;
  id: string;
  state: 'joining' | 'online' | 'suspect' | 'offline' | 'revoked';
  draining: boolean;
  labels?: string[];
  address?: string;
  seen_at?: number;
  seen_ms?: number;
  firmware?: string;
  board?: string;
  uptime_ms?: number;
  boots?: number;
  flash: Share;
  ram: Share;
  fuel: Share;
  places: Share;
  sensors?: string[];
  actuators?: string[];
  links?: Link[];
  instances?: string[];
  refused?: { unauthenticated: number; forbidden: number; messages: number; unverified: number };
}

export interface Instance {
  instance: number;
  path: string;
  pipeline: string;
  name: string;
  replica: number;
  capsule: string;
  digest: string;
  node: string;
  epoch: number;
  state?: string;
  reason?: string;
  why?: string[];
  lease_ms?: number;
  counters: {
    restarts: number;
    handled: number;
    published: number;
    dropped: number;
    fuel_per_second: number;
    inbox: number;
    outbox: number;
  };
}

export interface Wire { from: string; to: string; delivery: string; overflow: string }

export interface Pipeline {
  name: string;
  state: 'starting' | 'running' | 'degraded' | 'unplaceable' | 'ending';
  instances: string[];
  running: number;
  wires: Wire[];
  problems?: string[];
}

export interface Migration {
  migration?: number;
  instance: number;
  path: string;
  from: string;
  to: string;
  epoch: number;
  state: 'running' | 'committed' | 'done' | 'undoing' | 'undone';
  cause: string;
  began_at?: number;
  blackout_us?: number;
  snapshot_bytes?: number;
  problem?: string;
}

export interface Value {
  topic: string;
  instance: number;
  epoch: number;
  seq: number;
  sampled_us?: number;
  value: Record<string, unknown>;
}

export interface Field { name: string; type: string; unit: string; optional: boolean }

export interface Topic { topic: string; mqtt: string; direction: string; schema: { fields: Field[] } }

export interface LogLine {
  at?: number;
  node?: string;
  number: number;
  instance?: string;
  level: string;
  text: string;
}

export interface Mqtt { connected: boolean; waiting: number; published: number; lost: number }

export interface Site {
  site: string;
  gateway: string;
  version: string;
  uptime_ms: number;
}

export type Event =
  | { node: Node }
  | { instance: Instance }
  | { pipeline: Pipeline }
  | { plan: unknown }
  | { migration: Migration }
  | { value: Value }
  | { log: LogLine }
  | { mqtt: Mqtt }
  | { gone: { node: string } | { instance: number } | { pipeline: string } | { topic: string } };

/// The names of the server-sent events.
export const EVENTS = [
  'node', 'instance', 'pipeline', 'plan', 'migration', 'value', 'log', 'mqtt', 'gone',
] as const;

const KEY = 'capmesh-token';

export function token(): string | null {
  return sessionStorage.getItem(KEY);
}

export function setToken(token: string): void {
  sessionStorage.setItem(KEY, token);
}

/// The gateway wants to know a token.
export class Unauthorized extends Error {}

/// Asks the gateway; the answer is an object with one key.
export async function get<T>(what: string): Promise<T> {
  const known = token();
  const headers: Record<string, string> = known ? { authorization: `Bearer ${known}` } : {};
  const response = await fetch(`./api/v1/${what}`, { headers });
  if (response.status === 401) throw new Unauthorized();
  if (!response.ok) throw new Error(`${what}: ${response.status}`);
  return (await response.json()) as T;
}

export function stream(): EventSource {
  const known = token();
  const query = known ? `?access_token=${encodeURIComponent(known)}` : '';
  return new EventSource(`./api/v1/events${query}`);
}
