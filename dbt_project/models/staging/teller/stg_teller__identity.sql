with source as (

    select * from {{ source('raw', 'teller_identity') }}

),

parsed as (

    select
        *,
        try(from_json(payload, '{"owners": [{
            "type": "VARCHAR", "names": ["JSON"], "addresses": ["JSON"], "phone_numbers": ["JSON"], "emails": ["JSON"]
        }]}')) as fields
    from source

),

renamed as (

    -- Names, addresses, telephone numbers and emails of people stay in the store: the lake says how many there are.
    select
        bucket,
        connection_id,
        account_id as provider_account_id,
        coalesce(len(fields.owners), 0)::integer as owners,
        coalesce(list_sum(list_transform(fields.owners, lambda owner: len(owner.names))), 0)::integer as names,
        coalesce(list_sum(list_transform(fields.owners, lambda owner: len(owner.addresses))), 0)::integer as addresses,
        coalesce(list_sum(list_transform(fields.owners, lambda owner: len(owner.phone_numbers))), 0)::integer as phone_numbers,
        coalesce(list_sum(list_transform(fields.owners, lambda owner: len(owner.emails))), 0)::integer as emails,
        fields is not null as is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from parsed

)

select * from renamed
