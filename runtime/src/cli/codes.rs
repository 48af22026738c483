//! `portcullis codes`, `portcullis limits`: closed lists, printed from the code that enforces them.

use clap::Args;
use portcullis_core::fault::Code;
use portcullis_core::limits::TABLE;
use serde_json::json;

use super::DONE;
use crate::output;

/// Arguments of `codes` and `limits`.
#[derive(Debug, Args)]
pub(super) struct CodesArgs {
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// Prints the codes.
pub(super) fn codes(args: &CodesArgs) -> u8 {
    for code in Code::ALL {
        if args.json {
            let fault = code.fault().as_str();
            output::line(
                &json!({ "code": code, "status": code.status(), "fault": fault, "title": code.title() })
                    .to_string(),
            );
        } else {
            output::line(&format!(
                "{:<28} {}  {:<9} {}",
                code.as_str(),
                code.status(),
                code.fault().as_str(),
                code.title()
            ));
        }
    }
    DONE
}

/// Prints the limits.
pub(super) fn limits(args: &CodesArgs) -> u8 {
    for row in TABLE {
        if args.json {
            output::line(
                &json!({ "name": row.name, "default": row.default, "max": row.max, "unit": row.unit, "reason": row.reason })
                    .to_string(),
            );
        } else {
            output::line(&format!(
                "{:<26} {:>12} (max {:>12}) {:<12} {}",
                row.name, row.default, row.max, row.unit, row.reason
            ));
        }
    }
    DONE
}
