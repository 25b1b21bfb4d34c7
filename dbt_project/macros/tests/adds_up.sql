{#- In each row, parts (expressions) add up to a total, exactly. -#}
{% test adds_up(model, parts, total) %}
select *
from {{ model }}
where {% for part in parts %}({{ part }}){{ " + " if not loop.last }}{% endfor %} is distinct from {{ total }}
{% endtest %}
