with source as (

    select * from {{ source('raw', 'stripe_credit_note_lines') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "amount": "VARCHAR", "description": "VARCHAR", "quantity": "VARCHAR", "invoice_line_item": "VARCHAR"
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_credit_note_line_id,
        account_id as provider_credit_note_id,
        try_cast(fields.amount as bigint) as amount_in_smallest_units,
        try_cast(fields.quantity as bigint) as quantity,
        {{ clean('fields.description') }} as description,
        fields.invoice_line_item as provider_invoice_line_id,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
