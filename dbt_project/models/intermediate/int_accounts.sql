-- Every account of every provider in one shape. The next provider's accounts are one more step here.
with teller as (

    select
        bucket,
        'teller' as provider,
        connection_id,
        provider_account_id,
        name,
        case when type in ('depository', 'credit') then type else 'other' end as kind,
        subtype,
        currency,
        status = 'closed' as is_closed,
        institution_name,
        is_readable,
        synced_at,
        removed_at
    from {{ ref('stg_teller__accounts') }}

),

unioned as (

    select * from teller

),

connections as (

    select * from {{ source('ledgerlake', 'connections') }}

),

states as (

    select * from {{ source('ledgerlake', 'accounts') }}

),

joined as (

    select
        unioned.bucket,
        {{ account_key('unioned.connection_id', 'unioned.provider_account_id') }} as account_key,
        connections.customer_id,
        unioned.provider,
        unioned.connection_id,
        unioned.provider_account_id,
        unioned.name,
        unioned.kind,
        unioned.subtype,
        unioned.currency,
        case
            when connections.state = 'gone' then 'gone'
            when states.state = 'vanished' or unioned.removed_at is not null then 'vanished'
            when states.state = 'closed' or unioned.is_closed then 'closed'
            else 'open'
        end as status,
        coalesce(unioned.institution_name, connections.institution_name) as institution_name,
        unioned.synced_at,
        case
            when connections.connection_id is null then 'unknown_connection'
            when not unioned.is_readable then 'unreadable'
        end as excluded_because
    from unioned
    left join connections on unioned.connection_id = connections.connection_id
    left join states
        on unioned.connection_id = states.connection_id and unioned.provider_account_id = states.account_id

)

select * from joined
