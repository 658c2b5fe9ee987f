//! Finding the assignment that costs least.

use crate::cost::Board;
use crate::filter::Prepared;

/// The work of a search if nobody says otherwise ([`Weights::effort`](crate::Weights::effort)).
pub const EFFORT: u64 = 400_000;

/// The search found no place for this unit beside the others.
#[derive(Clone, Debug)]
pub(crate) struct Stuck {
    pub(crate) unit: usize,
    /// What is left on each node beside what could be placed.
    pub(crate) left: Vec<crate::model::Resources>,
    /// Whether it is certain that there is none.
    pub(crate) proven: bool,
}

/// Where each unit goes, and whether that is proven to be the best.
pub(crate) fn search(problem: &Prepared) -> Result<(Vec<usize>, bool), Stuck> {
    let effort = problem.weights.effort;
    // Half of it is kept for proving that nothing is better.
    let proof = effort / 2;
    let mut search = Search { problem, effort: effort - proof, random: 0x9e37_79b9_7f4a_7c15 };
    let order = search.order();
    let greedy = search.greedy(&order);
    let improved = greedy.as_ref().ok().map(|board| search.improve(board.clone()));
    // If not even one way down the tree can be gone to its end, it is looked from the top only whether
    // something better can be.
    let is_hopeless = improved.is_some() && search.way_down() > proof;
    search.effort = if is_hopeless { search.top() } else { search.effort + proof };
    let bound = improved.as_ref().map_or(u64::MAX, |board| board.total().total());
    let mut proof = Proof { board: Board::new(problem), order, best: bound, found: None };
    let finished = proof.descend(&mut search, 0, 0);
    match (proof.found.or_else(|| improved.map(|board| board.place)), greedy) {
        (Some(place), _) => Ok((place.into_iter().flatten().collect(), finished)),
        (None, Err(stuck)) => Err(Stuck { proven: finished, ..stuck }),
        (None, Ok(board)) => Ok((board.place.into_iter().flatten().collect(), false)),
    }
}

struct Search<'p> {
    problem: &'p Prepared,
    effort: u64,
    random: u64,
}

impl<'p> Search<'p> {
    /// The units with the fewest nodes to go to first, the largest of those first.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.problem.units.len()).collect();
        order.sort_by_key(|&index| {
            self.problem.units.get(index).map(|unit| {
                (unit.eligible.len(), u64::MAX - unit.needs.ram, u64::MAX - unit.needs.flash)
            })
        });
        order
    }

    /// The prices of one look from the top of the tree: each unit on each of its nodes.
    fn top(&self) -> u64 {
        self.problem.units.iter().map(|unit| unit.eligible.len() as u64).sum()
    }

    /// The prices of one way down the tree, at least: a look at each step, at ever fewer units.
    fn way_down(&self) -> u64 {
        self.top().saturating_mul(self.problem.units.len() as u64) / 2
    }

    /// Puts each unit where it costs least beside those before it. One that finds no place goes
    /// first in another try, once; if that does not help, the first that found none is reported.
    fn greedy(&mut self, order: &[usize]) -> Result<Board<'p>, Stuck> {
        let mut order = order.to_vec();
        let mut first = None;
        for _ in 0..=order.len() {
            let mut board = Board::new(self.problem);
            let stuck = order.iter().copied().find(|&unit| match self.cheapest(&board, unit) {
                Some((node, _)) => {
                    board.put(unit, node);
                    false
                }
                None => true,
            });
            let Some(unit) = stuck else { return Ok(board) };
            first.get_or_insert_with(|| self.stuck(&board, unit));
            order.retain(|other| *other != unit);
            order.insert(0, unit);
        }
        Err(first.unwrap_or_else(|| self.stuck(&Board::new(self.problem), 0)))
    }

    fn stuck(&self, board: &Board<'_>, unit: usize) -> Stuck {
        let left = (0..self.problem.capacity.len()).map(|node| board.left(node)).collect();
        Stuck { unit, left, proven: false }
    }

    /// Where a unit costs least beside what is placed; the first of equals.
    fn cheapest(&mut self, board: &Board<'_>, unit: usize) -> Option<(usize, u64)> {
        let eligible = &self.problem.units.get(unit)?.eligible;
        self.effort = self.effort.saturating_sub(eligible.len() as u64);
        eligible
            .iter()
            .filter_map(|&node| Some((node, board.price(unit, node)?)))
            .min_by_key(|&(node, price)| (price, node))
    }

    /// Goes downhill, then again and again from a disturbed copy of the best, until the effort is
    /// spent or nothing better has turned up for long.
    fn improve(&mut self, board: Board<'p>) -> Board<'p> {
        let mut best = self.downhill(board);
        let mut least = best.total().total();
        let mut fruitless = 0;
        while self.effort > 0 && fruitless < 30 + 2 * best.place.len() && least > 0 {
            let disturbed = self.disturb(best.clone());
            let candidate = disturbed.map(|board| self.downhill(board));
            match candidate.map(|board| (board.total().total(), board)) {
                Some((total, board)) if total < least => {
                    (least, best, fruitless) = (total, board, 0);
                }
                _ => fruitless += 1,
            }
        }
        best
    }

    /// Moves and swaps units for as long as that saves anything.
    fn downhill(&mut self, mut board: Board<'p>) -> Board<'p> {
        let units = board.place.len();
        loop {
            let mut better = false;
            for unit in 0..units {
                better |= self.relocate(&mut board, unit);
            }
            for a in 0..units {
                for b in a + 1..units {
                    better |= self.effort > 0 && self.swap(&mut board, a, b);
                }
            }
            if !better || self.effort == 0 {
                return board;
            }
        }
    }

    fn relocate(&mut self, board: &mut Board<'p>, unit: usize) -> bool {
        let Some(home) = board.take(unit) else { return false };
        let now = board.price(unit, home);
        let better = self.cheapest(board, unit).filter(|&(_, price)| Some(price) < now);
        board.put(unit, better.map_or(home, |(node, _)| node));
        better.is_some()
    }

    fn swap(&mut self, board: &mut Board<'p>, a: usize, b: usize) -> bool {
        let may = |unit: usize, node: Option<usize>| {
            let eligible = self.problem.units.get(unit).map(|unit| &unit.eligible);
            node.zip(eligible).is_some_and(|(node, list)| list.binary_search(&node).is_ok())
        };
        if board.at(a) == board.at(b) || !may(a, board.at(b)) || !may(b, board.at(a)) {
            return false;
        }
        let Some((home_a, home_b)) = board.take(a).zip(board.take(b)) else { return false };
        self.effort = self.effort.saturating_sub(4);
        let now = both(board, (a, home_a), (b, home_b));
        let swapped = both(board, (a, home_b), (b, home_a));
        let better = swapped.is_some_and(|swapped| now.is_none_or(|now| swapped < now));
        let (place_a, place_b) = if better { (home_b, home_a) } else { (home_a, home_b) };
        board.put(a, place_a);
        board.put(b, place_b);
        better
    }

    /// Takes two to four units off and puts them back in another order. `None` if that fails.
    fn disturb(&mut self, mut board: Board<'p>) -> Option<Board<'p>> {
        let count = 2 + self.draw(3);
        let taken: Vec<usize> = (0..count).map(|_| self.draw(board.place.len())).collect();
        let nodes = self.problem.capacity.len();
        for &unit in &taken {
            board.take(unit);
        }
        for unit in taken {
            if board.at(unit).is_some() {
                continue;
            }
            // Half of them go to some node rather than to the cheapest.
            let some = self.draw(2 * nodes);
            let eligible = &self.problem.units.get(unit)?.eligible;
            let node = match eligible.get(some % eligible.len().max(1)) {
                Some(&node) if some < nodes && board.price(unit, node).is_some() => node,
                _ => self.cheapest(&board, unit)?.0,
            };
            board.put(unit, node);
        }
        Some(board)
    }

    /// A number below `bound`, by Marsaglia's xorshift: the same at every run.
    fn draw(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let bound = u64::try_from(bound.max(1)).unwrap_or(u64::MAX);
        usize::try_from((self.random >> 11) % bound).unwrap_or(0)
    }
}

/// The price of two units at once, neither of which is on the board.
fn both(board: &mut Board<'_>, a: (usize, usize), b: (usize, usize)) -> Option<u64> {
    let first = board.price(a.0, a.1)?;
    board.put(a.0, a.1);
    let second = board.price(b.0, b.1);
    board.take(a.0);
    Some(first.saturating_add(second?))
}

/// Branch and bound: every assignment that could be better than the best known is looked at.
struct Proof<'p> {
    board: Board<'p>,
    order: Vec<usize>,
    best: u64,
    found: Option<Vec<Option<usize>>>,
}

impl Proof<'_> {
    /// Places the units from `depth` on in every way that could be better. `spent` is the cost of
    /// those placed. Returns false if the effort was used up on the way.
    fn descend(&mut self, search: &mut Search<'_>, depth: usize, spent: u64) -> bool {
        let Some(&unit) = self.order.get(depth) else {
            if spent < self.best || self.found.is_none() && self.best == u64::MAX {
                self.best = spent;
                self.found = Some(self.board.place.clone());
            }
            return true;
        };
        if search.effort == 0 {
            return false;
        }
        // Each unit that is still to come costs at least its cheapest price now: what others add
        // later only makes it dearer.
        let mut least = spent;
        for &later in self.order.iter().skip(depth) {
            match search.cheapest(&self.board, later) {
                Some((_, price)) => least = least.saturating_add(price),
                None => return true,
            }
        }
        if least >= self.best {
            return true;
        }
        let eligible = search.problem.units.get(unit).map_or(&[][..], |unit| &unit.eligible);
        let mut choices: Vec<(u64, usize)> = eligible
            .iter()
            .filter_map(|&node| Some((self.board.price(unit, node)?, node)))
            .collect();
        choices.sort_unstable();
        choices.into_iter().all(|(price, node)| {
            self.board.put(unit, node);
            let finished = self.descend(search, depth + 1, spent.saturating_add(price));
            self.board.take(unit);
            finished
        })
    }
}
