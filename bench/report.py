def case_results(case, outcomes):
    return {o.label: {"us": o.median("us"), "complaints": o.complaints} for o in outcomes.values()}
def write(results, docs):
    import json; print(json.dumps(results, indent=1))
