{#- No value comes twice. Groups by an 8-byte hash and looks only at its collisions, so that millions of long keys fit in memory. -#}
{% test unique_key(model, column_name) %}
select {{ column_name }}, count(*) as times
from {{ model }}
where hash({{ column_name }}) in (
    select hash({{ column_name }}) from {{ model }} group by 1 having count(*) > 1
)
group by 1
having count(*) > 1
{% endtest %}
