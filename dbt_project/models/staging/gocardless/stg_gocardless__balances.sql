with source as (

    select * from {{ source('raw', 'gocardless_balances') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{"balances": [{
            "balanceAmount": {"amount": "VARCHAR", "currency": "VARCHAR"}, "balanceType": "VARCHAR", "referenceDate": "VARCHAR",
            "creditLimitIncluded": "VARCHAR"
        }]}')) as fields
    from source

),

-- A reading that cannot be parsed is one row without an amount.
listed as (

    select
        * exclude (fields),
        fields is not null as is_readable,
        unnest(if(len(fields.balances) > 0, fields.balances, [null])) as balance,
        generate_subscripts(if(len(fields.balances) > 0, fields.balances, [null]), 1) as position
    from parsed

),

renamed as (

    select
        bucket,
        connection_id,
        record_id as provider_balance_id,
        account_id as provider_account_id,
        record_date as as_of,
        position::integer as position,
        balance.balanceType as balance_type,
        {{ money('balance.balanceAmount.amount') }} as amount,
        upper({{ filled('balance.balanceAmount.currency') }}) as currency,
        try_cast(balance.referenceDate as date) as reference_on,
        try_cast(balance.creditLimitIncluded as boolean) as includes_credit_limit,
        is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from listed

)

select * from renamed
