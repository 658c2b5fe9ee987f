import { useEffect, useRef, useState } from 'preact/hooks';
import { forceCollide, forceLink, forceManyBody, forceSimulation, forceX, forceY, type SimulationLinkDatum, type SimulationNodeDatum } from 'd3-force';
import type { Mesh } from '../mesh';
import { Empty, type ViewProps } from './common';

const WIDTH = 480;
const HEIGHT = 320;
const EDGE = 28;
const GATEWAY = ' gateway';
const PINNED = 'capmesh-map';

interface Spot extends SimulationNodeDatum { id: string }
interface Tie extends SimulationLinkDatum<Spot> { quality?: number; back?: number; flows: string[] }

type Places = Record<string, [number, number]>;

function pinned(): Places {
  try {
    return JSON.parse(localStorage.getItem(PINNED) ?? '{}') as Places;
  } catch {
    return {};
  }
}

/// Who is tied to whom: links with their quality in both directions, wires of pipelines, and the gateway.
function ties(mesh: Mesh): Tie[] {
  const found = new Map<string, Tie>();
  const tie = (a: string, b: string) => {
    const [source, target] = a < b ? [a, b] : [b, a];
    const key = `${source}\n${target}`;
    const known = found.get(key) ?? { source, target, flows: [] };
    found.set(key, known);
    return known;
  };
  for (const node of mesh.nodes.values()) {
    if (node.state !== 'revoked') tie(GATEWAY, node.name);
    for (const link of node.links ?? []) {
      if (!mesh.nodes.has(link.to)) continue;
      const between = tie(node.name, link.to);
      if (node.name < link.to) between.quality = link.quality; else between.back = link.quality;
    }
  }
  const instances = [...mesh.instances.values()];
  for (const pipeline of mesh.pipelines.values()) {
    for (const wire of pipeline.wires) {
      const ends = (port: string) => instances.filter((one) => one.pipeline === pipeline.name && one.name === port.split('.')[0]);
      for (const from of ends(wire.from)) {
        for (const to of ends(wire.to)) {
          if (from.node !== to.node && mesh.nodes.has(from.node) && mesh.nodes.has(to.node)) {
            tie(from.node, to.node).flows.push(`${pipeline.name}: ${wire.from} → ${wire.to} (${wire.delivery})`);
          }
        }
      }
    }
  }
  return [...found.values()];
}

export function MeshMap({ mesh, open }: ViewProps) {
  const [, turn] = useState(0);
  const spots = useRef(new Map<string, Spot>());
  const simulation = useRef(forceSimulation<Spot>()
    .force('charge', forceManyBody<Spot>().strength(-330))
    .force('x', forceX<Spot>(WIDTH / 2).strength(0.06))
    .force('y', forceY<Spot>(HEIGHT / 2).strength(0.1))
    .force('collide', forceCollide<Spot>(38))
    .stop());
  const frame = useRef(0);
  const svg = useRef<SVGSVGElement>(null);
  const dragged = useRef<{ spot: Spot; moved: boolean } | undefined>(undefined);

  const nodes = [...mesh.nodes.values()].filter((node) => node.state !== 'revoked');
  const all = ties(mesh);
  const shape = JSON.stringify([nodes.map((node) => node.name).sort(), all.map((tie) => [tie.source, tie.target])]);

  // Moves until it rests; a hidden page does not.
  const run = (heat: number) => {
    cancelAnimationFrame(frame.current);
    simulation.current.alpha(Math.max(simulation.current.alpha(), heat));
    const step = () => {
      simulation.current.tick();
      turn((turns) => turns + 1);
      if (simulation.current.alpha() > simulation.current.alphaMin()) frame.current = requestAnimationFrame(step);
    };
    frame.current = requestAnimationFrame(step);
  };

  useEffect(() => {
    const held = pinned();
    const ids = [GATEWAY, ...nodes.map((node) => node.name)];
    for (const id of spots.current.keys()) if (!ids.includes(id)) spots.current.delete(id);
    ids.forEach((id, at) => {
      if (spots.current.has(id)) return;
      // The same mesh comes out the same way.
      const angle = (2 * Math.PI * at) / ids.length;
      const spot: Spot = { id, x: WIDTH / 2 + (at ? 110 * Math.cos(angle) : 0), y: HEIGHT / 2 + (at ? 95 * Math.sin(angle) : 0) };
      if (held[id]) [spot.fx, spot.fy] = held[id];
      spots.current.set(id, spot);
    });
    simulation.current.nodes([...spots.current.values()]);
    simulation.current.force('link', forceLink<Spot, Tie>(all.map((tie) => ({ ...tie }))).id((spot) => spot.id).distance(95).strength(0.25));
    run(0.6);
    return () => cancelAnimationFrame(frame.current);
  }, [shape]);

  if (nodes.length === 0) return <Empty>There are no nodes yet. <code>capmesh node adopt CLAIM</code> puts one on the roster.</Empty>;

  const at = (id: unknown) => {
    const spot = spots.current.get(String(id));
    const clamp = (value: number, most: number) => Math.min(most - EDGE, Math.max(EDGE, value));
    return { x: clamp(spot?.x ?? WIDTH / 2, WIDTH), y: clamp(spot?.y ?? HEIGHT / 2, HEIGHT) };
  };
  const point = (event: PointerEvent) => {
    const matrix = svg.current?.getScreenCTM()?.inverse();
    return matrix ? new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix) : { x: 0, y: 0 };
  };
  const grab = (id: string) => (event: PointerEvent) => {
    const spot = spots.current.get(id);
    if (!spot) return;
    dragged.current = { spot, moved: false };
    svg.current?.setPointerCapture(event.pointerId);
  };
  const drag = (event: PointerEvent) => {
    const drag = dragged.current;
    if (!drag) return;
    const { x, y } = point(event);
    if (Math.hypot(x - (drag.spot.x ?? 0), y - (drag.spot.y ?? 0)) < 4 && !drag.moved) return;
    drag.moved = true;
    [drag.spot.fx, drag.spot.fy] = [x, y];
    run(0.2);
  };
  const drop = () => {
    const drag = dragged.current;
    dragged.current = undefined;
    if (!drag) return;
    if (!drag.moved) {
      if (drag.spot.id !== GATEWAY) open(`nodes/${encodeURIComponent(drag.spot.id)}`);
      return;
    }
    localStorage.setItem(PINNED, JSON.stringify({ ...pinned(), [drag.spot.id]: [drag.spot.fx, drag.spot.fy] }));
  };
  const free = (id: string) => () => {
    const spot = spots.current.get(id);
    const { [id]: _, ...rest } = pinned();
    localStorage.setItem(PINNED, JSON.stringify(rest));
    if (spot) [spot.fx, spot.fy] = [null, null];
    run(0.4);
  };
  const quality = (tie: Tie) => {
    const known = [tie.quality, tie.back].filter((one) => one !== undefined);
    if (known.length === 0) return '';
    const worst = Math.min(...known);
    return worst > 215 ? 'good' : worst > 150 ? 'some' : 'bad';
  };
  const instances = [...mesh.instances.values()];
  return (
    <svg class="map" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} ref={svg} role="img" aria-label="The mesh: nodes, links and the wires between them"
      onPointerMove={drag} onPointerUp={drop}>
      {all.map((tie) => {
        const [a, b] = [at(tie.source), at(tie.target)];
        const percent = (one?: number) => (one === undefined ? '?' : `${Math.round(one / 2.55)} %`);
        const isLink = tie.quality !== undefined || tie.back !== undefined;
        return (
          <g>
            <line class={`tie ${quality(tie)} ${tie.source === GATEWAY ? 'way' : ''}`} x1={a.x} y1={a.y} x2={b.x} y2={b.y}>
              <title>{[isLink && `${tie.source} ↔ ${tie.target}: ${percent(tie.quality)} and ${percent(tie.back)}`, ...tie.flows].filter(Boolean).join('\n')}</title>
            </line>
            {tie.flows.length > 0 && <line class="flow" x1={a.x} y1={a.y} x2={b.x} y2={b.y} stroke-width={Math.min(5, 1.5 + tie.flows.length * 0.5)} />}
          </g>
        );
      })}
      <g class="spot gateway" transform={`translate(${at(GATEWAY).x} ${at(GATEWAY).y})`} onPointerDown={grab(GATEWAY)} onDblClick={free(GATEWAY)}>
        <rect x={-16} y={-16} width={32} height={32} rx={7} />
        <text y={32}>{mesh.site?.gateway ?? 'gateway'}</text>
      </g>
      {nodes.map((node) => {
        const { x, y } = at(node.name);
        const hosted = instances.filter((instance) => instance.node === node.name);
        return (
          <g class={`spot ${node.state} ${node.draining ? 'draining' : ''}`} transform={`translate(${x} ${y})`} onPointerDown={grab(node.name)} onDblClick={free(node.name)}
            tabIndex={0} role="link" onKeyDown={(event) => event.key === 'Enter' && open(`nodes/${encodeURIComponent(node.name)}`)}>
            <title>{[`${node.name}: ${node.state}`, ...hosted.map((instance) => `${instance.path} ${mesh.stateOf(instance) ?? ''}`)].join('\n')}</title>
            <circle r={17} />
            <text class="count" y={4}>{hosted.length || ''}</text>
            <text y={33}>{node.name}</text>
          </g>
        );
      })}
    </svg>
  );
}
