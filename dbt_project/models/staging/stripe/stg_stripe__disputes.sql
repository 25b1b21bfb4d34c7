with source as (

    select * from {{ source('raw', 'stripe_disputes') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "created": "VARCHAR", "currency": "VARCHAR", "charge": "VARCHAR", "status": "VARCHAR", "amount": "VARCHAR", "reason": "VARCHAR"
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_dispute_id,
        fields.charge as provider_charge_id,
        fields.status as status,
        upper(fields.currency) as currency,
        {{ stripe_money('fields.amount', 'fields.currency') }} as amount,
        fields.reason as reason,
        {{ unix_time('fields.created') }} as created_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
