with connections as (

    select * from {{ source('ledgerlake', 'connections') }}

),

final as (

    select
        connection_id,
        customer_id,
        provider,
        external_id as provider_connection_id,
        institution_id,
        institution_name,
        state as status,
        reason as status_reason,
        state_since as status_since,
        created_at,
        last_synced_at,
        bucket
    from connections

)

select * from final
