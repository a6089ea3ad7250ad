// An OpenID Connect provider: the package oidc-provider with its own pages, which let everybody in under the name they type.

import Provider from "oidc-provider";

/** Starts it at `issuer`, for one client that is sent back to `origin`. Counts the grants that it gives by their type. */
export function start(issuer, origin) {
    const grants = {};
    const provider = new Provider(issuer, {
        clients: [
            {
                client_id: "gateway",
                client_secret: "a secret & more",
                redirect_uris: [`${origin}/.proxyd/login/corp/callback`],
                post_logout_redirect_uris: [`${origin}/bye`],
                grant_types: ["authorization_code", "refresh_token"],
                response_types: ["code"],
                token_endpoint_auth_method: "client_secret_basic",
            },
        ],
        cookies: { keys: ["only for tests"] },
        claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "groups"] },
        scopes: ["openid", "offline_access", "email", "profile"],
        features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
        pkce: { required: () => true },
        ttl: { AccessToken: 3, IdToken: 60, Grant: 600, Interaction: 600, Session: 600, RefreshToken: 600, AuthorizationCode: 60 },
        issueRefreshToken: async (_, client, code) => code.scopes.has("offline_access"),
        rotateRefreshToken: true,
        findAccount: async (_, id) => ({
            accountId: id,
            claims: async () => ({
                sub: id,
                email: `${id}@example.com`,
                email_verified: true,
                name: id,
                groups: ["staff"],
            }),
        }),
    });
    provider.on("grant.success", (ctx) => {
        const kind = ctx.oidc.params.grant_type;
        grants[kind] = (grants[kind] ?? 0) + 1;
    });
    const server = provider.listen(Number(new URL(issuer).port));
    return { server, grants };
}
