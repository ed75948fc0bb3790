//! Lists read from the store, page by page and off the loops.

use std::sync::Arc;

use stepwell_store::{Key, Range, Reader};
use stepwell_types::ExecutionId;

use crate::Error;
use crate::api::{Execution, ListFilter, Page, Usage, UsageRow};
use crate::driver::execution_of;
use crate::rows::{self, SummaryRow};

/// Rows looked at for one page of a filtered list, at most.
const SCAN_MAX: usize = 10_000;
/// Rows of usage read at a time: more than loops can have written of one day.
const USAGE_ROWS: usize = 1_024;

/// A page of executions, newest first.
pub(crate) fn read_list(
    reader: &dyn Reader,
    filter: &ListFilter,
    before: Option<ExecutionId>,
    limit: usize,
) -> Result<Page<Execution, ExecutionId>, Error> {
    let mut items = Vec::new();
    let mut last = before;
    let mut seen = 0;
    while seen < SCAN_MAX {
        let range = match (filter.parent, &filter.flow) {
            (Some(parent), _) => Range::Children {
                parent,
                before: last,
            },
            (None, Some(flow)) => Range::FlowExecutions {
                flow: flow.clone(),
                before: last,
            },
            (None, None) => Range::Summaries { before: last },
        };
        let want = (limit + 1).clamp(64, 1024);
        let rows = reader.scan(&range, want)?;
        for (key, value) in &rows {
            seen += 1;
            let (id, row) = match key {
                Key::Summary { execution } => (*execution, rows::decode(value)?),
                Key::FlowExecution { execution, .. } | Key::Child { execution, .. } => {
                    let key = Key::Summary {
                        execution: *execution,
                    };
                    let Some(row) = reader.get(&key)? else {
                        continue;
                    };
                    (*execution, rows::decode::<SummaryRow>(&row)?)
                }
                _ => continue,
            };
            let fits = filter.status.is_none_or(|s| s.number() == row.status)
                && filter.flow.as_ref().is_none_or(|f| *f == row.flow);
            if fits && items.len() == limit {
                return Ok(Page { items, next: last });
            }
            last = Some(id);
            if fits {
                items.push(execution_of(reader, id, row, false)?);
            }
        }
        if rows.len() < want {
            return Ok(Page { items, next: None });
        }
    }
    Ok(Page { items, next: last })
}

/// A page of what each flow used on each day, summed over the loops that counted it.
pub(crate) fn read_usage(
    reader: &dyn Reader,
    flow: Option<Arc<str>>,
    mut after: Option<(Arc<str>, u32)>,
    limit: usize,
) -> Result<Page<UsageRow, (Arc<str>, u32)>, Error> {
    let mut items: Vec<UsageRow> = Vec::new();
    loop {
        let range = Range::Usage {
            flow: flow.clone(),
            after,
        };
        let rows = reader.scan(&range, USAGE_ROWS)?;
        for (key, value) in &rows {
            if let Key::Usage { flow, day, .. } = key {
                add(&mut items, flow, *day, &rows::decode(value)?);
            }
        }
        let more = rows.len() == USAGE_ROWS;
        if more {
            // The rest of its day may be in the next rows.
            items.pop();
        }
        let place = |row: &UsageRow| (row.flow.clone(), row.day);
        if items.len() > limit || (more && items.len() == limit) {
            items.truncate(limit);
            let next = items.last().map(place);
            return Ok(Page { items, next });
        }
        if !more {
            return Ok(Page { items, next: None });
        }
        after = items.last().map(place);
    }
}

fn add(items: &mut Vec<UsageRow>, flow: &Arc<str>, day: u32, row: &rows::UsageRow) {
    let same = items
        .last()
        .is_some_and(|l| l.flow == *flow && l.day == day);
    if !same {
        items.push(UsageRow {
            flow: flow.clone(),
            day,
            usage: Usage::default(),
        });
    }
    if let Some(last) = items.last_mut() {
        last.usage.started += row.started;
        last.usage.transitions += row.transitions;
        last.usage.attempts += row.attempts;
        last.usage.fuel += row.fuel;
        last.usage.step_us += row.step_us;
        last.usage.bytes += row.bytes;
    }
}

#[cfg(test)]
mod tests {
    use stepwell_store::memory::Memory;
    use stepwell_store::{Batch, Writer as _};

    use super::*;

    #[test]
    fn usage_comes_whole_in_pages_of_any_size() {
        let memory = Memory::default();
        let mut batch = Batch::default();
        for (flow, days) in [("a", 700), ("b", 1), ("c", 60)] {
            for (day, writer) in (0..days).flat_map(|d| (0..3).map(move |w| (d, w))) {
                let row = rows::UsageRow {
                    started: 1 + u64::from(writer),
                    ..rows::UsageRow::default()
                };
                let flow = flow.into();
                batch.put(Key::Usage { flow, day, writer }, rows::encode(&row));
            }
        }
        memory.writer().commit(&[batch]).unwrap();
        let read = |flow: Option<&str>, limit: usize| {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                let page = read_usage(&memory, flow.map(Arc::from), after, limit).unwrap();
                assert!(page.items.len() == limit || page.next.is_none());
                all.extend(page.items);
                after = page.next;
                if after.is_none() {
                    return all;
                }
            }
        };
        for (flow, limit, want) in [
            (None, 1_000, 761),
            (None, 341, 761),
            (None, 70, 761),
            (Some("a"), 100, 700),
            (Some("b"), 1, 1),
            (Some("x"), 1, 0),
        ] {
            let all = read(flow, limit);
            assert_eq!(all.len(), want, "{flow:?} by {limit}");
            assert!(all.iter().all(|row| row.usage.started == 6));
            assert!(all.is_sorted_by_key(|row| (row.flow.clone(), row.day)));
        }
    }
}
