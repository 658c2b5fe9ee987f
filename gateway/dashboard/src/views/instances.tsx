import { count } from '../text';
import { State, Table, type ViewProps } from './common';

export function Instances({ mesh, open }: ViewProps) {
  return (
    <Table
      rows={[...mesh.instances.values()]}
      id={(instance) => String(instance.instance)}
      open={(instance) => open(`instances/${instance.instance}`)}
      search={(instance) => [instance.path, instance.capsule, instance.node, mesh.stateOf(instance), instance.reason].join(' ')}
      empty="Nothing is deployed yet. `capmesh deploy FILE` runs a pipeline."
      columns={[
        { title: 'Instance', by: (instance) => instance.path, cell: (instance) => <strong>{instance.path}</strong> },
        { title: 'State', by: (instance) => mesh.stateOf(instance) ?? '', cell: (instance) => <><State state={mesh.stateOf(instance)} /> {instance.reason && <small>{instance.reason}</small>}</> },
        { title: 'Node', by: (instance) => instance.node, cell: (instance) => instance.node },
        { title: 'Capsule', by: (instance) => instance.capsule, cell: (instance) => instance.capsule, wide: true },
        { title: 'Handled', by: (instance) => instance.counters.handled, cell: (instance) => count(instance.counters.handled), wide: true },
        { title: 'Published', by: (instance) => instance.counters.published, cell: (instance) => count(instance.counters.published), wide: true },
        { title: 'Dropped', by: (instance) => instance.counters.dropped, cell: (instance) => count(instance.counters.dropped), wide: true },
        { title: 'Fuel/s', by: (instance) => instance.counters.fuel_per_second, cell: (instance) => count(instance.counters.fuel_per_second), wide: true },
        { title: 'Restarts', by: (instance) => instance.counters.restarts, cell: (instance) => instance.counters.restarts, wide: true },
        { title: 'Why there', by: (instance) => instance.why?.[0] ?? '', cell: (instance) => <small>{instance.why?.[0]}</small>, wide: true },
      ]}
    />
  );
}
