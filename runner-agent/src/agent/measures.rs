//! What the pipeline finds to be necessary and can't do itself: it is pure.

use super::child;
use crate::kernel::Kernel;
use crate::pipeline::Measure;

/// Does what the pipeline found to be necessary.
pub(super) fn carry_out(measure: Measure, kernel: &mut Kernel) {
    match measure {
        Measure::MarkHolder(key) => {
            if let Err(error) = kernel.holds_secret(key) {
                tracing::error!("{error}");
            }
        }
        Measure::Permit(program, classes) => {
            if let Err(error) = kernel.permit(program, classes) {
                tracing::error!("{error}");
            }
        }
        Measure::Know(slot, file, class) => {
            if let Err(error) = kernel.know(slot, file, class) {
                tracing::error!("{error}");
            }
        }
        Measure::End(key) => {
            if child::end_process(key) {
                tracing::warn!("pid {} left its job's cgroup and was ended", key.tgid);
            }
        }
    }
}
