with subscriptions as (

    select * from {{ ref('int_stripe_subscriptions') }} where excluded_because is null

),

final as (

    select
        subscription_key,
        customer_id,
        connection_id,
        provider_subscription_id,
        provider_customer_id,
        status,
        currency,
        started_at,
        trial_started_at,
        trial_ends_at,
        cancel_at,
        canceled_at,
        ended_at,
        cancels_at_period_end,
        collection_method,
        is_collection_paused,
        created_at,
        first_synced_at,
        synced_at,
        bucket
    from subscriptions

)

select * from final
