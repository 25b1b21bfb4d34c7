-- A model that leaves records out is one more step here: nothing goes missing without a reason.
{%- set billing = {
    'charges': 'charge', 'refunds': 'refund', 'payouts': 'payout', 'invoices': 'invoice', 'subscriptions': 'subscription',
    'balance_transactions': 'balance_transaction'
} %}

with accounts as (

    select
        provider, 'accounts' as stream, connection_id, provider_account_id as record_id,
        'int_accounts' as model, excluded_because as reason, synced_at, bucket
    from {{ ref('int_accounts') }}
    where excluded_because is not null

),

balances as (

    select
        provider, 'balances' as stream, connection_id, provider_balance_id as record_id,
        'int_balances' as model, excluded_because as reason, synced_at, bucket
    from {{ ref('int_balances') }}
    where excluded_because is not null

),

transactions as (

    select
        provider, 'transactions' as stream, connection_id, provider_transaction_id as record_id,
        'int_transactions' as model, excluded_because as reason, synced_at, bucket
    from {{ ref('int_transactions') }}
    where excluded_because is not null

),

{%- for stream, object in billing.items() %}

billing_{{ stream }} as (

    select
        'stripe' as provider, '{{ stream }}' as stream, connection_id, provider_{{ object }}_id as record_id,
        'int_stripe_{{ stream }}' as model, excluded_because as reason, synced_at, bucket
    from {{ ref('int_stripe_' ~ stream) }}
    where excluded_because is not null

),
{%- endfor %}

quarantine as (

    select
        provider, stream, connection_id, {{ quarantine_id() }} as record_id,
        'quarantine' as model, reason, last_seen_at as synced_at, bucket
    from {{ source('raw', 'quarantine') }}
    where released_at is null

),

unioned as (

    select * from accounts
    union all
    select * from balances
    union all
    select * from transactions
    {%- for stream in billing %}
    union all
    select * from billing_{{ stream }}
    {%- endfor %}
    union all
    select * from quarantine

)

select * from unioned
