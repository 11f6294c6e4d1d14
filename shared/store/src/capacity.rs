//! The capacity that requests to DynamoDB consume.

use std::cell::Cell;

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{
            BeforeSerializationInterceptorContextMut, BeforeTransmitInterceptorContextRef,
            FinalizerInterceptorContextRef,
        },
    },
    error::BoxError,
    operation::{
        batch_get_item::{BatchGetItemInput, BatchGetItemOutput},
        delete_item::{DeleteItemInput, DeleteItemOutput},
        get_item::{GetItemInput, GetItemOutput},
        put_item::{PutItemInput, PutItemOutput},
        query::{QueryInput, QueryOutput},
        update_item::{UpdateItemInput, UpdateItemOutput},
    },
    types::ReturnConsumedCapacity,
};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;

tokio::task_local! {
    static CONSUMED: Cell<ConsumedCapacity>;
}

/// Requests and the capacity that they consumed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ConsumedCapacity {
    /// Requests, retries included.
    pub requests: u64,
    /// Read capacity units.
    pub read_units: f64,
    /// Write capacity units, without those of writes whose condition failed: DynamoDB does not report them.
    pub write_units: f64,
}

impl ConsumedCapacity {
    /// The output of `work` and the capacity that it consumed, except in tasks that it spawned.
    pub async fn measure<T>(work: impl Future<Output = T>) -> (T, Self) {
        CONSUMED.scope(Cell::default(), async { (work.await, CONSUMED.with(Cell::get)) }).await
    }

    /// Adds to the capacity of the current task, if [`Self::measure`] runs it.
    fn add(self) {
        let _ = CONSUMED.try_with(|consumed| {
            let Self { requests, read_units, write_units } = consumed.get();
            consumed.set(Self {
                requests: requests + self.requests,
                read_units: read_units + self.read_units,
                write_units: write_units + self.write_units,
            });
        });
    }
}

/// Requests the consumed capacity with each operation, and sums it up.
#[derive(Debug)]
pub(crate) struct CapacityInterceptor;

/// Runs `$do` with the input or the output of any of these operations.
macro_rules! each {
    ($any:expr, $downcast:ident, $($kind:ty)|+, $it:ident => $do:expr) => {
        $(if let Some($it) = $any.$downcast::<$kind>() { $do; })+
    };
}

#[dyn_dispatch_hint]
impl Intercept for CapacityInterceptor {
    fn name(&self) -> &'static str {
        "CapacityInterceptor"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let input = context.input_mut();
        each!(input, downcast_mut,
            BatchGetItemInput | DeleteItemInput | GetItemInput | PutItemInput | QueryInput | UpdateItemInput,
            input => input.return_consumed_capacity = Some(ReturnConsumedCapacity::Total));
        Ok(())
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        ConsumedCapacity { requests: 1, ..ConsumedCapacity::default() }.add();
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(Ok(output)) = context.output_or_error() else { return Ok(()) };
        let mut consumed = ConsumedCapacity::default();
        each!(output, downcast_ref, GetItemOutput | QueryOutput, output =>
            consumed.read_units += output.consumed_capacity().and_then(|capacity| capacity.capacity_units).unwrap_or_default());
        each!(output, downcast_ref, BatchGetItemOutput, output =>
            consumed.read_units += output.consumed_capacity().iter().filter_map(|capacity| capacity.capacity_units).sum::<f64>());
        each!(output, downcast_ref, DeleteItemOutput | PutItemOutput | UpdateItemOutput, output =>
            consumed.write_units += output.consumed_capacity().and_then(|capacity| capacity.capacity_units).unwrap_or_default());
        consumed.add();
        Ok(())
    }
}
