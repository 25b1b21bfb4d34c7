{#-
  Nothing is lost and nothing is made up: for each connection, the records that the store holds of a stream (current,
  removed and in quarantine) are the rows of the model and the rows of excluded_records. Two-sided, by count and by
  the sum of the ids' hashes, so that one row lost and another doubled does not come out even.

  Arguments: provider, stream; key: the expression over the model's columns that gives the record's id.
-#}
{% test conservation(model, provider, stream, key) %}
{%- set digest = "sum(hash(record_id)::hugeint)" %}
with raw_records as (
    select bucket, connection_id, record_id from {{ source('raw', provider ~ '_' ~ stream) }}
    union all
    select bucket, connection_id, {{ quarantine_id() }} as record_id
    from {{ source('raw', 'quarantine') }}
    where provider = '{{ provider }}' and stream = '{{ stream }}' and released_at is null
),
reached as (
    select bucket, connection_id, {{ key }} as record_id
    from {{ model }}
    {%- if 'provider' in model_columns(model) %}
    where provider = '{{ provider }}'
    {%- endif %}
),
excluded as (
    select bucket, connection_id, record_id
    from {{ ref('excluded_records') }}
    where provider = '{{ provider }}' and stream = '{{ stream }}'
),
rows_in as (
    select bucket, connection_id, count(*) as records, {{ digest }} as digest from raw_records group by all
),
rows_out as (
    select bucket, connection_id, count(*) as records, {{ digest }} as digest
    from (select * from reached union all select * from excluded)
    group by all
)
select
    coalesce(rows_in.bucket, rows_out.bucket) as bucket,
    coalesce(rows_in.connection_id, rows_out.connection_id) as connection_id,
    coalesce(rows_in.records, 0) as records_in,
    coalesce(rows_out.records, 0) as records_out
from rows_in
full join rows_out on rows_in.bucket = rows_out.bucket and rows_in.connection_id = rows_out.connection_id
where rows_in.records is distinct from rows_out.records or rows_in.digest is distinct from rows_out.digest
{% endtest %}

{% macro model_columns(relation) -%}
  {%- set names = [] -%}
  {%- if execute -%}
    {%- for column in adapter.get_columns_in_relation(relation) -%}{%- do names.append(column.name) -%}{%- endfor -%}
  {%- endif -%}
  {{ return(names) }}
{%- endmacro %}

{#- A payload in quarantine may have no id that could be read: then its hash stands for it. -#}
{% macro quarantine_id() -%}
  coalesce(record_id, 'quarantine:' || hash::varchar)
{%- endmacro %}
