"""The REST API, `/api/v1`: one file a resource.

`service` puts them together; `authentication` says who calls, `caller` what they may see and do,
`errors` how refusals look, `paging` how lists are cut.
"""
