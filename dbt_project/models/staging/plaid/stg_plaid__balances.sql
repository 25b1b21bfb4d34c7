with source as (

    select * from {{ source('raw', 'plaid_balances') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{
            "type": "VARCHAR", "balances": {"current": "VARCHAR", "available": "VARCHAR", "limit": "VARCHAR"}
        }')) as fields
    from source

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_balance_id,
        account_id as provider_account_id,
        record_date as as_of,
        fields.type as account_type,
        {{ number_text('payload', 'current', 'fields.balances.current') }} as current_text,
        {{ number_text('payload', 'available', 'fields.balances.available') }} as available_text,
        {{ number_text('payload', 'limit', 'fields.balances.limit') }} as limit_text,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

),

typed as (

    select
        * exclude (current_text, available_text, limit_text),
        {{ money_of_double('current_text') }} as current_balance,
        {{ money_of_double('available_text') }} as available,
        {{ money_of_double('limit_text') }} as credit_limit
    from renamed

)

select * from typed
