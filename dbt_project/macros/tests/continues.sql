{#- The months of each series follow one another, and each begins with what the one before ended with; the first with 0. -#}
{% test continues(model, series, month, starting, ending) %}
with compared as (
    select
        *,
        lag({{ month }}) over months as month_before,
        coalesce(lag({{ ending }}) over months, 0) as ended_with
    from {{ model }}
    window months as (partition by {{ series | join(", ") }} order by {{ month }})
)
select *
from compared
where {{ starting }} is distinct from ended_with
    or month_before is not null and month_before + interval 1 month <> {{ month }}
{% endtest %}
