-- Every reading of a balance of every provider in one shape. The next provider's balances are one more step here.
{%- set shape = [
    'bucket', 'connection_id', 'provider_balance_id', 'provider_account_id', 'as_of', 'booked', 'available',
    'credit_is_owed', 'is_readable', 'synced_at', 'removed_at', 'removed_reason',
] %}

with teller as (

    -- A credit account's balances are what is owed, available included: it is the ledger net of what is pending.
    {{ shaped(shape, 'teller', ref('stg_teller__balances'), {'booked': 'ledger', 'credit_is_owed': 'true'}) }}

),

plaid as (

    -- What is owed is positive. `available` is what can be spent: of a credit account the limit less what is owed and
    -- pending, so the limit is taken off; of an investment or a loan it is no balance of the account.
    {{ shaped(shape, 'plaid', ref('stg_plaid__balances'), {
        'booked': "if(account_type in ('credit', 'loan'), -current_balance, current_balance)",
        'available': "case
            when account_type = 'credit' then (available - credit_limit)::decimal(28, 8)
            when account_type not in ('loan', 'investment', 'brokerage') then available
        end",
        'credit_is_owed': 'false',
    }) }}

),

gocardless as (

    {{ shaped(shape, 'gocardless', ref('int_gocardless__balances'), {'credit_is_owed': 'false'}) }}

),

tink as (

    -- Positive is what the holder has, negative what is owed, for every type of account.
    {{ shaped(shape, 'tink', ref('stg_tink__balances'), {'credit_is_owed': 'false'}) }}

),

unioned as (

    select * from teller
    union all by name
    select * from plaid
    union all by name
    select * from gocardless
    union all by name
    select * from tink

),

accounts as (

    select * from {{ ref('int_accounts') }} where excluded_because is null

),

signed as (

    select
        unioned.*,
        {{ account_key('unioned.connection_id', 'unioned.provider_account_id') }} as account_key,
        accounts.customer_id,
        accounts.currency,
        accounts.account_key is not null as has_account,
        if(unioned.credit_is_owed and accounts.kind = 'credit', -1, 1)::decimal(1, 0) as sign
    from unioned
    left join accounts
        on unioned.connection_id = accounts.connection_id
        and unioned.provider_account_id = accounts.provider_account_id

),

judged as (

    select
        bucket,
        account_key,
        customer_id,
        provider,
        connection_id,
        provider_balance_id,
        provider_account_id,
        as_of,
        if(sign < 0, -booked, booked) as booked,
        if(sign < 0, -available, available) as available,
        currency,
        synced_at,
        case
            when removed_at is not null then coalesce(removed_reason, 'removed')
            when not is_readable then 'unreadable'
            when as_of is null then 'no_date'
            when booked is null and available is null then 'no_amount'
            when not has_account then 'unknown_account'
            when currency is null then 'no_currency'
        end as excluded_because
    from signed

)

select * from judged
