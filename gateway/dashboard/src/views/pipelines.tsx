import { Empty, State, type ViewProps } from './common';

export function Pipelines({ mesh, open }: ViewProps) {
  const pipelines = [...mesh.pipelines.values()].sort((a, b) => a.name.localeCompare(b.name));
  const migrations = [...mesh.migrations.values()]
    .sort((a, b) => (b.began_at ?? 0) - (a.began_at ?? 0))
    .slice(0, 5);
  if (pipelines.length === 0) return <Empty>Nothing is deployed yet. <code>capmesh deploy FILE</code> runs a pipeline.</Empty>;
  const instances = [...mesh.instances.values()];
  return (
    <>
      {pipelines.map((pipeline) => (
        <article class="pipeline" key={pipeline.name}>
          <h3>{pipeline.name} <State state={pipeline.state} /> <small>{pipeline.running}/{pipeline.instances.length} run</small></h3>
          {(pipeline.problems ?? []).map((problem) => <p class="problem">{problem}</p>)}
          <ul class="chips">
            {instances.filter((instance) => instance.pipeline === pipeline.name)
              .sort((a, b) => a.path.localeCompare(b.path))
              .map((instance) => (
                <li key={instance.instance}>
                  <button class={`chip ${mesh.stateOf(instance) ?? 'unknown'}`} onClick={() => open(`instances/${instance.instance}`)}>
                    {instance.name} <small>on {instance.node}</small>
                  </button>
                </li>
              ))}
          </ul>
        </article>
      ))}
      {migrations.length > 0 && <h3>Moves</h3>}
      {migrations.map((migration) => (
        <p class="move" key={`${migration.instance}.${migration.epoch}`}>
          <State state={migration.state} /> {migration.path}: {migration.from} → {migration.to}
          {migration.blackout_us !== undefined && <small> {(migration.blackout_us / 1000).toFixed(1)} ms away</small>}
          {migration.problem && <small class="problem"> {migration.problem}</small>}
        </p>
      ))}
    </>
  );
}
