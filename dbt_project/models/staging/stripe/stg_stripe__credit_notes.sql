with source as (

    select * from {{ source('raw', 'stripe_credit_notes') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "created": "VARCHAR", "currency": "VARCHAR", "customer": "VARCHAR", "invoice": "VARCHAR", "status": "VARCHAR", "number": "VARCHAR",
            "type": "VARCHAR", "total": "VARCHAR", "voided_at": "VARCHAR"
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_credit_note_id,
        fields.invoice as provider_invoice_id,
        fields.customer as provider_customer_id,
        {{ clean('fields.number') }} as number,
        fields.status as status,
        fields.type as type,
        upper(fields.currency) as currency,
        {{ stripe_money('fields.total', 'fields.currency') }} as total,
        {{ unix_time('fields.voided_at') }} as voided_at,
        {{ unix_time('fields.created') }} as created_at,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
