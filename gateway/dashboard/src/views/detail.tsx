import type { ComponentChildren } from 'preact';
import { bytes, count, span } from '../text';
import { Empty, State, Used, type ViewProps } from './common';

/// What is known of one thing, beside the list that it is in.
export function Detail({ mesh, kind, which, close, open }: ViewProps & { kind: string; which: string; close: () => void }) {
  const node = kind === 'nodes' ? mesh.nodes.get(which) : undefined;
  const instance = kind === 'instances' ? mesh.instances.get(Number(which)) : undefined;
  return (
    <aside class="detail card">
      <button class="close" aria-label="Close" onClick={close}>×</button>
      {node ? <NodeDetail mesh={mesh} open={open} name={which} />
        : instance ? <InstanceDetail mesh={mesh} open={open} number={Number(which)} />
        : <Empty>There is no such thing any more.</Empty>}
    </aside>
  );
}

function Fact({ title, children }: { title: string; children: ComponentChildren }) {
  return <><dt>{title}</dt><dd>{children}</dd></>;
}

function NodeDetail({ mesh, open, name }: ViewProps & { name: string }) {
  const node = mesh.nodes.get(name)!;
  const instances = [...mesh.instances.values()].filter((instance) => instance.node === name);
  return (
    <>
      <h2>{node.name} <State state={node.state} />{node.draining && <State state="draining" />}</h2>
      <dl>
        <Fact title="Id"><code>{node.id}</code></Fact>
        {node.address && <Fact title="Address"><code>{node.address}</code></Fact>}
        {node.board && <Fact title="Board">{node.board}</Fact>}
        {node.firmware && <Fact title="Firmware">{node.firmware}</Fact>}
        {node.uptime_ms !== undefined && <Fact title="Up for">{span(node.uptime_ms)}, {node.boots} starts</Fact>}
        <Fact title="RAM"><Used share={node.ram} text={bytes} /></Fact>
        <Fact title="Flash"><Used share={node.flash} text={bytes} /></Fact>
        <Fact title="Fuel/s"><Used share={node.fuel} text={count} /></Fact>
        <Fact title="Places"><Used share={node.places} text={String} /></Fact>
        {node.labels && <Fact title="Labels">{node.labels.join(', ')}</Fact>}
        {node.sensors && <Fact title="Sensors">{node.sensors.join(', ')}</Fact>}
        {node.actuators && <Fact title="Actuators">{node.actuators.join(', ')}</Fact>}
        {node.refused && <Fact title="Refused">{Object.entries(node.refused).map(([what, many]) => `${what} ${many}`).join(', ')}</Fact>}
      </dl>
      <h3>Instances</h3>
      {instances.length === 0 && <Empty>It hosts nothing.</Empty>}
      {instances.map((instance) => (
        <p><a href={`#/instances/${instance.instance}`} onClick={() => open(`instances/${instance.instance}`)}>{instance.path}</a> <State state={mesh.stateOf(instance)} /></p>
      ))}
      {node.links && <h3>Links</h3>}
      {node.links?.map((link) => <p>{link.to} <small>{link.kind}, {Math.round(link.quality / 2.55)} %, {link.mtu} B</small></p>)}
    </>
  );
}

function InstanceDetail({ mesh, number }: ViewProps & { number: number }) {
  const instance = mesh.instances.get(number)!;
  const moves = [...mesh.migrations.values()].filter((migration) => migration.instance === number);
  const counters = instance.counters;
  return (
    <>
      <h2>{instance.path} <State state={mesh.stateOf(instance)} /></h2>
      <dl>
        <Fact title="Node"><a href={`#/nodes/${encodeURIComponent(instance.node)}`}>{instance.node}</a></Fact>
        <Fact title="Capsule">{instance.capsule} <code class="digest">{instance.digest}</code></Fact>
        <Fact title="Number, epoch">{instance.instance}, {instance.epoch}</Fact>
        {instance.reason && <Fact title="Reason">{instance.reason}</Fact>}
        {instance.lease_ms !== undefined && <Fact title="Lease">{span(instance.lease_ms)}</Fact>}
        <Fact title="Messages">{count(counters.handled)} handled, {count(counters.published)} published, {count(counters.dropped)} dropped</Fact>
        <Fact title="Waiting">{counters.inbox} in, {counters.outbox} out</Fact>
        <Fact title="Fuel/s">{count(counters.fuel_per_second)}</Fact>
        <Fact title="Restarts">{counters.restarts}</Fact>
      </dl>
      <h3>Why it is there</h3>
      {instance.why?.length ? <ul>{instance.why.map((why) => <li>{why}</li>)}</ul> : <Empty>The plan gives no reason.</Empty>}
      {moves.length > 0 && <h3>Moves</h3>}
      {moves.map((move) => (
        <p>{move.from} → {move.to} <State state={move.state} /> <small>{move.cause}{move.snapshot_bytes !== undefined && `, ${bytes(move.snapshot_bytes)}`}{move.blackout_us !== undefined && `, ${(move.blackout_us / 1000).toFixed(1)} ms away`}</small></p>
      ))}
    </>
  );
}
