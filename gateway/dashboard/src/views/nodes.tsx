import { bytes, count, span } from '../text';
import { State, Table, Used, type ViewProps } from './common';

export function Nodes({ mesh, open }: ViewProps) {
  const seen = (name: string) => {
    const heard = mesh.heard.get(name);
    return heard === undefined ? Infinity : Date.now() - heard;
  };
  return (
    <Table
      rows={[...mesh.nodes.values()]}
      id={(node) => node.name}
      open={(node) => open(`nodes/${encodeURIComponent(node.name)}`)}
      search={(node) => [node.name, node.id, node.state, node.board, node.address, ...(node.labels ?? []), ...(node.sensors ?? [])].join(' ')}
      empty="There are no nodes yet. `capmesh node adopt CLAIM` puts one on the roster."
      columns={[
        { title: 'Node', by: (node) => node.name, cell: (node) => <strong>{node.name}</strong> },
        { title: 'State', by: (node) => node.state, cell: (node) => <><State state={node.state} />{node.draining && <State state="draining" />}</> },
        { title: 'Seen', by: (node) => seen(node.name), cell: (node) => Number.isFinite(seen(node.name)) ? span(seen(node.name)) : '–', wide: true },
        { title: 'RAM', by: (node) => node.ram.free, cell: (node) => <Used share={node.ram} text={bytes} /> },
        { title: 'Flash', by: (node) => node.flash.free, cell: (node) => <Used share={node.flash} text={bytes} />, wide: true },
        { title: 'Fuel/s', by: (node) => node.fuel.free, cell: (node) => <Used share={node.fuel} text={count} />, wide: true },
        { title: 'Instances', by: (node) => node.instances?.length ?? 0, cell: (node) => `${node.instances?.length ?? 0}` },
        { title: 'Board', by: (node) => node.board ?? '', cell: (node) => node.board ?? '', wide: true },
        { title: 'Sensors', by: (node) => node.sensors?.length ?? 0, cell: (node) => (node.sensors ?? []).join(', '), wide: true },
      ]}
    />
  );
}
