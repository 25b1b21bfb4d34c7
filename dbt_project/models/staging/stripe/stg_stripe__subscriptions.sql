with source as (

    select * from {{ source('raw', 'stripe_subscriptions') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "created": "VARCHAR", "currency": "VARCHAR", "customer": "VARCHAR", "status": "VARCHAR", "start_date": "VARCHAR",
            "trial_start": "VARCHAR", "trial_end": "VARCHAR", "cancel_at": "VARCHAR", "canceled_at": "VARCHAR", "ended_at": "VARCHAR",
            "cancel_at_period_end": "BOOLEAN", "collection_method": "VARCHAR", "pause_collection": "JSON", "latest_invoice": "VARCHAR"
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_subscription_id,
        fields.customer as provider_customer_id,
        fields.status as status,
        upper(fields.currency) as currency,
        {{ unix_time('fields.start_date') }} as started_at,
        {{ unix_time('fields.trial_start') }} as trial_started_at,
        {{ unix_time('fields.trial_end') }} as trial_ends_at,
        {{ unix_time('fields.cancel_at') }} as cancel_at,
        {{ unix_time('fields.canceled_at') }} as canceled_at,
        {{ unix_time('fields.ended_at') }} as ended_at,
        fields.cancel_at_period_end as cancels_at_period_end,
        fields.collection_method as collection_method,
        fields.pause_collection is not null and fields.pause_collection::varchar <> 'null' as is_collection_paused,
        {{ unix_time('fields.created') }} as created_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
