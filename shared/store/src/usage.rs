//! What requests to DynamoDB cost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

tokio::task_local! {
    static CURRENT: Usage;
}

/// What was used in the course of one task. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Usage(Arc<Mutex<Used>>);

/// A sum of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// Requests, those counted that were sent again.
    pub requests: u64,
    /// Read capacity units.
    pub read_units: f64,
    /// Write capacity units. A write whose condition fails costs some as well, which DynamoDB does not tell.
    pub write_units: f64,
}

impl Usage {
    /// What the task that calls this counts to; something that nobody looks at, outside [`Usage::count`].
    fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Counts what `work` uses, tasks left aside that it spawns.
    pub async fn count<T>(&self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self.clone(), work).await
    }

    /// The sum so far.
    pub fn used(&self) -> Used {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has DynamoDB tell what each request costs, and adds it up.
#[derive(Debug)]
pub(crate) struct Meter;

/// Does something to the input or the output of whichever operation it is.
macro_rules! each {
    ($any:expr, $downcast:ident, $($kind:ty)|+, $it:ident => $do:expr) => {
        $(if let Some($it) = $any.$downcast::<$kind>() { $do; })+
    };
}

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
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
        Usage::current().lock().requests += 1;
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(Ok(output)) = context.output_or_error() else { return Ok(()) };
        let (mut read, mut written) = (0.0, 0.0);
        each!(output, downcast_ref, GetItemOutput | QueryOutput, output =>
            read += output.consumed_capacity().and_then(|used| used.capacity_units).unwrap_or_default());
        each!(output, downcast_ref, BatchGetItemOutput, output =>
            read += output.consumed_capacity().iter().filter_map(|used| used.capacity_units).sum::<f64>());
        each!(output, downcast_ref, DeleteItemOutput | PutItemOutput | UpdateItemOutput, output =>
            written += output.consumed_capacity().and_then(|used| used.capacity_units).unwrap_or_default());
        let usage = Usage::current();
        let mut used = usage.lock();
        used.read_units += read;
        used.write_units += written;
        Ok(())
    }
}
