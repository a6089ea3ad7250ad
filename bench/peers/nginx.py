"""nginx: one worker, keep-alive upstream; as a gateway limit_req, request ids and the access log in its JSON form."""

import machine
from peers import Launch, Place, Setup, route_path

LOG_FORMAT = (
    """log_format line escape=json '{"time":"$time_iso8601","request_id":"$request_id","client":"$remote_addr","method":"$request_method",'"""
    """ '"host":"$host","path":"$uri","query":"$args","protocol":"$server_protocol","status":$status,"bytes_in":$request_length,'"""
    """ '"bytes_out":$body_bytes_sent,"duration":$request_time,"upstream":"$upstream_addr","upstream_time":"$upstream_response_time",'"""
    """ '"user_agent":"$http_user_agent"}';"""
)


def version() -> str:
    return machine.first_line(["nginx", "-v"]).rpartition("/")[2]


def launch(setup: Setup, place: Place) -> Launch:
    log = place.folder / "access.log"
    buffered = "" if setup.line_by_line else " buffer=64k"
    outer = [LOG_FORMAT, f"access_log {log} line{buffered};"] if setup.gateway else ["access_log off;"]
    inner = []
    if setup.gateway:
        outer.append("limit_req_zone $binary_remote_addr zone=each:10m rate=1000000r/s;")
        inner = [
            "limit_req zone=each burst=1000000 nodelay;",
            "proxy_set_header X-Request-ID $request_id;",
            "add_header X-Request-ID $request_id;",
        ]
    # What comes by chunks goes on by chunks, as it does through the others.
    forward = [
        "proxy_pass http://backend;",
        "proxy_http_version 1.1;",
        'proxy_set_header Connection "upgrade";' if setup.tunnels else 'proxy_set_header Connection "";',
        "proxy_set_header Upgrade $http_upgrade;" if setup.tunnels else "",
        "proxy_set_header Host $host;",
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "proxy_request_buffering off;",
        # Bodies are passed on as they come, like those of the others, in buffers of 64 KiB: of the settings tried (the
        # default, more and larger buffers, with and without buffering) the cheapest for 64 KiB and 1 MiB answers.
        "proxy_buffering off;",
        "proxy_buffer_size 64k;",
        "proxy_buffers 8 64k;",
        "proxy_busy_buffers_size 128k;",
        *inner,
    ]
    paths = [route_path(number, setup.routes) for number in range(setup.routes)] or ["/"]
    locations = "\n".join(f"location {path} {{ proxy_pass http://backend; }}" for path in paths)
    config = f"""
daemon off;
master_process {"off" if setup.single else "on"};
worker_processes {setup.workers};
pid {place.folder}/pid;
error_log stderr error;
events {{ worker_connections 19000; }}
http {{
    {chr(10).join(outer)}
    client_body_temp_path {place.folder}/body;
    proxy_temp_path {place.folder}/proxied;
    fastcgi_temp_path {place.folder}/fastcgi;
    uwsgi_temp_path {place.folder}/uwsgi;
    scgi_temp_path {place.folder}/scgi;
    keepalive_requests 1000000000;
    client_max_body_size 10m;
    tcp_nodelay on;
    upstream backend {{ server 127.0.0.1:{place.backend}; keepalive 128; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{place.port} {"ssl http2 " if setup.tls else ""}backlog=4096;
        {"ssl_certificate cert.pem; ssl_certificate_key key.pem; http2_max_requests 1000000000;" if setup.tls else ""}
        {chr(10).join(forward[1:])}
        {locations}
    }}
}}
"""
    path = place.folder / "nginx.conf"
    path.write_text(config)
    return Launch(["nginx", "-p", str(place.folder), "-c", str(path)], log if setup.gateway else None)
