//! Runs that wait for their vendor: nothing was sent because a circuit breaker is open.
//!
//! It is no try, and takes nothing from the budget of further tries. The wait is the breaker's, with chance in it, so that
//! the runs that wait for a vendor do not come together when it works again.

use portcullis_action::plan::ErrorClass;
use portcullis_core::fault::Code;

use super::detail::{Detail, Failure};
use super::work::soon;
use crate::call::pipeline::Called;
use crate::call::run::RunEnd;
use crate::clock;
use crate::error::Error;

/// When a run is due again for which nothing was sent because a breaker is open; `None` for any other.
pub(super) fn until_half_open(called: &Result<Called, Error>) -> Option<u64> {
    let Ok(Called { run, is_orphan: false }) = called else { return None };
    let RunEnd::Failed { code: Code::CircuitOpen, retry_at, .. } = &run.end else { return None };
    let at = retry_at.as_deref().and_then(clock::micros).map(|at| at.div_ceil(1000));
    Some(at.unwrap_or_else(soon))
}

/// Says why it waits, unless it says already what a try has said.
pub(super) fn put_off(mut detail: Detail) -> Detail {
    let class = Some(ErrorClass::Transient.as_str());
    let failure = || Failure::new(Code::CircuitOpen, Code::CircuitOpen.title(), class);
    detail.failure.get_or_insert_with(failure);
    detail
}
