//! How the tour is told: step by step while it runs for people, as one list for programs.

use crate::style::Style;
use alcub3_tpm::transport::Counts;
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};

/// Columns of a line.
const WIDTH: usize = 96;
/// Columns before the text of a line.
const MARGIN: usize = 14;
/// Longer words are digests; people get their beginning.
const LONGEST_WORD: usize = 64;

/// One line of a step.
#[derive(Clone, Debug)]
enum Line {
    /// What was done.
    Done(String),
    /// What a TPM enforced.
    Enforced(String),
    /// What was refused, as it had to be.
    Refused(String),
    /// What came out.
    Fact(&'static str, String),
}

/// One step as it is told.
#[derive(Debug, Default)]
pub(super) struct Telling {
    lines: Vec<Line>,
}

impl Telling {
    /// Says what was done.
    pub(super) fn done(&mut self, text: impl Into<String>) {
        self.lines.push(Line::Done(text.into()));
    }

    /// Says what a TPM enforced.
    pub(super) fn enforced(&mut self, text: impl Into<String>) {
        self.lines.push(Line::Enforced(text.into()));
    }

    /// Says what was refused, as it had to be.
    pub(super) fn refused(&mut self, text: impl Into<String>) {
        self.lines.push(Line::Refused(text.into()));
    }

    /// Shows a value.
    pub(super) fn fact(&mut self, name: &'static str, value: impl Into<String>) {
        self.lines.push(Line::Fact(name, value.into()));
    }

    fn texts(&self, pick: impl Fn(&Line) -> Option<String>) -> Vec<String> {
        self.lines.iter().filter_map(pick).collect()
    }
}

/// The tour so far.
pub(super) struct Story {
    style: Style,
    silent: bool,
    steps: Vec<Value>,
    robot: Counts,
    authority: Counts,
    began: Instant,
}

impl Story {
    /// Starts with a heading. The counters are those of the robot's and of the authority's TPM.
    pub(super) fn begin(style: Style, silent: bool, robot: Counts, authority: Counts) -> Self {
        let story = Self {
            style,
            silent,
            steps: Vec::new(),
            robot,
            authority,
            began: Instant::now(),
        };
        story.say(&format!("{}\n", style.bold("alcub3: one robot's life")));
        story.say("Two software TPMs (swtpm) stand in for the robot's chip and the authority's. Everything they do\n");
        story.say("is real; they and all files are deleted at the end. A simulator proves nothing about hardware:\n");
        story.say(
            "an authority admits one only when told to, as here, and says so in all that it issues.
",
        );
        story.say(
            "Beside each step: how long it took, and the commands to the robot's TPM + the authority's.
",
        );
        story
    }

    /// Runs one step and tells it.
    pub(super) fn step<T, E>(
        &mut self,
        title: &str,
        step: impl FnOnce(&mut Telling) -> Result<T, E>,
    ) -> Result<T, E> {
        let (robot, authority, began) = (self.robot.total(), self.authority.total(), Instant::now());
        let mut telling = Telling::default();
        let result = step(&mut telling)?;
        let took = began.elapsed();
        let commands = [self.robot.total() - robot, self.authority.total() - authority];
        self.tell(title, &telling, took, commands);
        Ok(result)
    }

    fn tell(&mut self, title: &str, telling: &Telling, took: Duration, [robot, authority]: [u64; 2]) {
        let number = self.steps.len() + 1;
        self.steps.push(json!({
            "number": number,
            "title": title,
            "done": telling.texts(|line| match line { Line::Done(text) => Some(text.clone()), _ => None }),
            "enforced": telling.texts(|line| match line { Line::Enforced(text) => Some(text.clone()), _ => None }),
            "refused": telling.texts(|line| match line { Line::Refused(text) => Some(text.clone()), _ => None }),
            "facts": telling.lines.iter().filter_map(fact).collect::<serde_json::Map<_, _>>(),
            "took_us": u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "robot_tpm_commands": robot,
            "authority_tpm_commands": authority,
        }));
        let cost = cost(took, robot, authority);
        let head = format!("{number:>2}  {title}");
        let gap = WIDTH
            .saturating_sub(head.chars().count() + cost.chars().count())
            .max(2);
        self.say(&format!(
            "\n{}{}{}\n",
            self.style.bold(&head),
            " ".repeat(gap),
            self.style.dim(&cost)
        ));
        for line in &telling.lines {
            self.say(&self.line(line));
        }
    }

    fn line(&self, line: &Line) -> String {
        let style = self.style;
        let (word, text) = match line {
            Line::Done(text) => (style.dim("did      "), text),
            Line::Enforced(text) => (style.good("enforced "), text),
            Line::Refused(text) => (style.warn("refused  "), text),
            Line::Fact(name, value) => return wrapped("         ", &format!("{name}: {value}")),
        };
        wrapped(&word, text)
    }

    /// Ends the tour, and gives its document.
    pub(super) fn end(self, receipt: &Value) -> Value {
        let took = self.began.elapsed();
        let refusals = self
            .steps
            .iter()
            .filter_map(|step| step["refused"].as_array())
            .map(Vec::len)
            .sum::<usize>();
        let totals = [self.robot.total(), self.authority.total()];
        self.say(&format!(
            "\n{}\n{} steps in {}; {} commands to the robot's TPM, {} to the authority's;\n{refusals} attacks and \
             mistakes, all refused.\n",
            self.style.good("The tour is over, and everything held."),
            self.steps.len(),
            duration(took),
            totals[0],
            totals[1],
        ));
        json!({
            "simulator": true, "steps": self.steps, "receipt": receipt, "refusals": refusals,
            "took_us": u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "robot_tpm_commands": totals[0], "authority_tpm_commands": totals[1],
        })
    }

    /// Text while it runs; a reader that went away is no failure.
    fn say(&self, text: &str) {
        if !self.silent {
            let mut stdout = std::io::stdout().lock();
            let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        }
    }
}

fn fact(line: &Line) -> Option<(String, Value)> {
    match line {
        Line::Fact(name, value) => Some(((*name).to_owned(), Value::from(value.clone()))),
        _ => None,
    }
}

/// Time and TPM commands: the robot's, and the authority's where there are any.
fn cost(took: Duration, robot: u64, authority: u64) -> String {
    let took = duration(took);
    match (robot, authority) {
        (1, 0) => format!("{took} · 1 TPM command"),
        (_, 0) => format!("{took} · {robot} TPM commands"),
        _ => format!("{took} · {robot} + {authority} TPM commands"),
    }
}

/// A duration in the unit that suits it.
pub(super) fn duration(took: Duration) -> String {
    match took.as_micros() {
        micros @ 0..1_000 => format!("{micros} µs"),
        micros @ 1_000..10_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        micros @ 10_000..1_000_000 => format!("{} ms", micros / 1_000),
        micros => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// `word` and the text beside it, broken between words.
fn wrapped(word: &str, text: &str) -> String {
    let mut out = format!("    {word} ");
    let mut used = 0;
    for part in text.split_whitespace() {
        let part = shortened(part);
        let length = part.chars().count();
        if used > 0 && MARGIN + used + 1 + length > WIDTH {
            out.push_str(&format!("\n{}", " ".repeat(MARGIN)));
            used = 0;
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(&part);
        used += length;
    }
    out.push('\n');
    out
}

fn shortened(word: &str) -> String {
    if word.chars().count() <= LONGEST_WORD {
        return word.to_owned();
    }
    let beginning: String = word.chars().take(24).collect();
    let end: String = word
        .chars()
        .rev()
        .take_while(|c| !c.is_ascii_alphanumeric())
        .collect();
    format!("{beginning}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_unit_that_suits_them() {
        let text = |micros| duration(Duration::from_micros(micros));
        assert_eq!(
            [text(999), text(1_500), text(45_000), text(2_340_000)],
            ["999 µs", "1.5 ms", "45 ms", "2.3 s"]
        );
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        let text = wrapped("did      ", &"seven-letter ".repeat(20));
        assert!(
            text.lines().count() > 2 && text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
        assert_eq!(text.matches("seven-letter").count(), 20);
        assert_eq!(
            shortened(&format!("sha384:{},", "ab".repeat(48))),
            "sha384:ababababababababa…,"
        );
    }
}
