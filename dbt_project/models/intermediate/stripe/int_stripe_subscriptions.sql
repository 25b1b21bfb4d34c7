with stripe as (

    select * from {{ ref('stg_stripe__subscriptions') }}

),

connections as (

    select * from {{ source('ledgerlake', 'connections') }}

),

judged as (

    select
        stripe.bucket,
        {{ account_key('stripe.connection_id', 'stripe.provider_subscription_id') }} as subscription_key,
        connections.customer_id,
        stripe.connection_id,
        stripe.provider_subscription_id,
        stripe.provider_customer_id,
        stripe.status,
        stripe.currency,
        stripe.started_at,
        stripe.trial_started_at,
        stripe.trial_ends_at,
        stripe.cancel_at,
        stripe.canceled_at,
        stripe.ended_at,
        stripe.cancels_at_period_end,
        stripe.collection_method,
        stripe.is_collection_paused,
        stripe.created_at,
        stripe.first_synced_at,
        stripe.synced_at,
        case
            when stripe.removed_at is not null then coalesce(stripe.removed_reason, 'removed')
            when not stripe.is_readable then 'unreadable'
            when connections.connection_id is null then 'unknown_connection'
            when stripe.created_at is null then 'no_date'
        end as excluded_because
    from stripe
    left join connections on stripe.connection_id = connections.connection_id

)

select * from judged
