import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { setToken } from './api';
import { Mesh } from './mesh';
import { clock, count } from './text';
import { Detail } from './views/detail';
import { Instances } from './views/instances';
import { Log } from './views/log';
import { MeshMap } from './views/map';
import { Nodes } from './views/nodes';
import { Pipelines } from './views/pipelines';
import { Values } from './views/values';
import './style.css';

const mesh = new Mesh();

// A section of the page: one more is one more line here.
const SECTIONS: [path: string, title: string, view: (props: { mesh: Mesh; open: (at: string) => void }) => preact.JSX.Element][] = [
  ['', 'Overview', (props) => (
    <div class="overview">
      <section class="card"><h2>Mesh</h2><MeshMap {...props} /></section>
      <section class="card"><h2>Pipelines</h2><Pipelines {...props} /></section>
      <section class="card wide"><h2>Values</h2><Values {...props} /></section>
      <section class="card wide"><h2>Log</h2><Log {...props} brief /></section>
    </div>
  )],
  ['nodes', 'Nodes', (props) => <section class="card"><Nodes {...props} /></section>],
  ['instances', 'Instances', (props) => <section class="card"><Instances {...props} /></section>],
  ['values', 'Values', (props) => <section class="card"><Values {...props} /></section>],
  ['log', 'Log', (props) => <section class="card"><Log {...props} /></section>],
];

function useMesh(): void {
  const [, turn] = useState(0);
  useEffect(() => mesh.watch(() => turn((turns) => turns + 1)), []);
}

function usePlace(): string[] {
  const read = () => location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  const [place, move] = useState(read);
  useEffect(() => {
    const moved = () => move(read());
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
  }, []);
  return place;
}

function Page() {
  useMesh();
  const [path = '', which] = usePlace();
  const section = SECTIONS.find(([at]) => at === path) ?? SECTIONS[0]!;
  const View = section[2];
  const open = (at: string) => { location.hash = `#/${at}`; };
  if (mesh.line === 'unauthorized') return <Token />;
  return (
    <>
      <header>
        <a class="brand" href="#/"><img src="./icon.svg" alt="" /> {mesh.site?.site ?? 'Capsule Mesh'}</a>
        <nav>
          {SECTIONS.map(([at, title]) => (
            <a href={`#/${at}`} aria-current={at === section[0] ? 'page' : undefined}>{title}</a>
          ))}
        </nav>
        <Pills />
      </header>
      {mesh.line === 'lost' && (
        <p class="banner" role="status">
          No line to the gateway since {clock(mesh.since)}. What is shown is as it was then; the page
          reconnects by itself.
        </p>
      )}
      <main class={mesh.line === 'lost' ? 'stale' : ''}>
        {mesh.line === 'connecting' ? <p class="empty">Asking the gateway…</p> : <View mesh={mesh} open={open} />}
        {which && <Detail mesh={mesh} kind={path} which={which} close={() => open(path)} open={open} />}
      </main>
    </>
  );
}

function Pills() {
  const nodes = [...mesh.nodes.values()].filter((node) => node.state !== 'revoked');
  const online = nodes.filter((node) => node.state === 'online').length;
  const instances = [...mesh.instances.values()];
  const running = instances.filter((instance) => mesh.stateOf(instance) === 'running').length;
  const pill = (text: string, good: boolean, title: string) => (
    <span class={`pill ${good ? 'good' : 'bad'}`} title={title}>{text}</span>
  );
  return (
    <div class="pills">
      {pill(mesh.line === 'open' ? 'live' : mesh.line, mesh.line === 'open', 'The line to the gateway')}
      {mesh.mqtt && pill(mesh.mqtt.connected ? 'MQTT' : `MQTT: ${count(mesh.mqtt.waiting)} wait`, mesh.mqtt.connected, 'The line from the gateway to the broker')}
      {pill(`${online}/${nodes.length} nodes`, online === nodes.length, 'Nodes that answer')}
      {pill(`${running}/${instances.length} instances`, running === instances.length, 'Instances that run')}
    </div>
  );
}

function Token() {
  return (
    <form class="card token" onSubmit={(event) => {
      event.preventDefault();
      const given = new FormData(event.currentTarget).get('token');
      setToken(String(given));
      location.reload();
    }}>
      <h1>Capsule Mesh</h1>
      <label>This gateway asks for its token (<code>http.token</code> in its configuration).
        <input name="token" type="password" autocomplete="current-password" required />
      </label>
      <button>Open</button>
    </form>
  );
}

mesh.start();
render(<Page />, document.getElementById('page')!);
