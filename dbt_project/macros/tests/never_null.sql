{#- No column of the list is NULL in any row: one scan for all of them, one row for each column that fails. -#}
{% test never_null(model, columns) %}
{{ config(fail_calc="coalesce(sum(nulls), 0)") }}
select column_name, nulls
from (
    unpivot (
        select
            {%- for column in columns %}
            count(*) - count({{ column }}) as {{ column }}{{ "," if not loop.last }}
            {%- endfor %}
        from {{ model }}
    )
    on * into name column_name value nulls
)
where nulls > 0
{% endtest %}
