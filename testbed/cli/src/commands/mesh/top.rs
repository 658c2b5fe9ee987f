//! The mesh on a screen, as it changes.

use super::instances::row;
use super::nodes::state;
use super::table::ago;
use super::{Mesh, explain};
use crate::commands::Context;
use anyhow::{Context as _, Result, ensure};
use capmesh_client::api::{InstanceView, NodeView, ShareView, SiteView, Which};
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Row, Table};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// How often the gateway is asked.
const EVERY: Duration = Duration::from_secs(1);

/// What is on the screen.
struct Seen {
    site: SiteView,
    nodes: Vec<NodeView>,
    instances: Vec<InstanceView>,
}

pub(in crate::commands) fn top(at: &Context) -> Result<()> {
    ensure!(
        std::io::stdout().is_terminal() && !at.json,
        "`top` needs a terminal; `capmesh node ls` and `capmesh ps` say the same as text and JSON"
    );
    let mesh = Mesh::new(at)?;
    // The first look comes before the screen changes, so that an error can be read.
    let mut seen = look(&mesh)?;
    let mut terminal = ratatui::try_init().context("the terminal")?;
    let shown = (|| {
        loop {
            terminal.draw(|frame| draw(frame, &seen))?;
            let next = Instant::now() + EVERY;
            while event::poll(next.saturating_duration_since(Instant::now()))? {
                if is_end(&event::read()?) {
                    return Ok(());
                }
                terminal.draw(|frame| draw(frame, &seen))?;
            }
            seen = look(&mesh)?;
        }
    })();
    ratatui::restore();
    shown
}

fn look(mesh: &Mesh) -> Result<Seen> {
    let client = &mesh.client;
    mesh.runtime.block_on(async {
        Ok(Seen {
            site: client.site().await.map_err(|error| explain(&error))?,
            nodes: client.nodes().await.map_err(|error| explain(&error))?,
            instances: client.instances(Which::default()).await.map_err(|error| explain(&error))?,
        })
    })
}

fn is_end(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}

fn draw(frame: &mut Frame<'_>, seen: &Seen) {
    let nodes = u16::try_from(seen.nodes.len()).unwrap_or(u16::MAX).saturating_add(3);
    let parts = [Constraint::Length(1), Constraint::Max(nodes), Constraint::Min(3)];
    let [head, upper, lower] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(headline(&seen.site), head);
    frame.render_widget(nodes_table(&seen.nodes), upper);
    frame.render_widget(instances_table(&seen.instances), lower);
}

fn headline(site: &SiteView) -> Line<'static> {
    let broker = if site.mqtt.connected { "broker connected" } else { "no broker" };
    Line::from(format!(
        "{}  up {}  {} of {} nodes online  {} of {} instances run  {broker}, {} sent, {} wait  q ends",
        site.site,
        ago(site.uptime_ms),
        site.online,
        site.nodes,
        site.running,
        site.instances,
        site.mqtt.published,
        site.mqtt.waiting,
    ))
}

fn nodes_table(nodes: &[NodeView]) -> Table<'static> {
    let rows = nodes.iter().map(|node| {
        let seen = node.seen_ms.map_or_else(|| "never".into(), ago);
        Row::new([
            Cell::from(node.name.clone()),
            Cell::from(state(node.state)),
            Cell::from(seen),
            used(node.flash),
            used(node.ram),
            used(node.fuel),
            Cell::from(node.instances.len().to_string()),
        ])
    });
    let widths = [16, 9, 8, 7, 7, 7, 9].map(Constraint::Length);
    let headings = ["NODE", "STATE", "SEEN", "FLASH", "RAM", "FUEL", "INSTANCES"];
    Table::new(rows, widths)
        .header(Row::new(headings).bold())
        .block(Block::bordered().title("nodes"))
}

/// How much is used, coloured from where it gets tight.
fn used(share: ShareView) -> Cell<'static> {
    let used = u64::from(share.total.saturating_sub(share.free)) * 100;
    let percent = used.checked_div(u64::from(share.total)).unwrap_or(0);
    let color = match percent {
        0..70 => Color::Reset,
        70..90 => Color::Yellow,
        _ => Color::Red,
    };
    Cell::from(format!("{percent} %")).style(Style::new().fg(color))
}

fn instances_table(instances: &[InstanceView]) -> Table<'static> {
    let rows = instances.iter().map(|instance| {
        let [path, _, node, state, epoch, handled, published, dropped] = row(instance);
        Row::new([path, node, state, epoch, handled, published, dropped])
    });
    let widths = [
        Constraint::Min(24),
        Constraint::Length(16),
        Constraint::Length(22),
        Constraint::Length(6),
        Constraint::Length(9),
        Constraint::Length(10),
        Constraint::Length(8),
    ];
    let headings = ["INSTANCE", "NODE", "STATE", "EPOCH", "HANDLED", "PUBLISHED", "DROPPED"];
    Table::new(rows, widths)
        .header(Row::new(headings).bold())
        .block(Block::bordered().title("instances"))
}
