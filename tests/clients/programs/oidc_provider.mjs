// The identity provider `oidc-provider`, certified by the OpenID Foundation, for tests of sign-in.
// Arguments: its port, the gateway's URL, and the format of access tokens (jwt or opaque).
import Provider from "oidc-provider";

const [port, gateway, format] = process.argv.slice(2);
const people = {
  ada: { email: "ada@example.com", groups: ["ml"], name: "Ada" },
  eve: { email: "eve@example.com", groups: ["others"], name: "Eve" },
};
const secret = "s3cret of the/client+%:";

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: "trigate-client",
      client_secret: secret,
      redirect_uris: [`${gateway}/oauth/callback`],
      grant_types: ["authorization_code", "refresh_token"],
    },
    {
      client_id: "machine",
      client_secret: secret,
      redirect_uris: [],
      response_types: [],
      grant_types: ["client_credentials"],
    },
  ],
  claims: { openid: ["sub"], email: ["email"], groups: ["groups"], profile: ["name"] },
  scopes: ["openid", "offline_access", "email", "groups", "profile"],
  findAccount: async (context, id) => ({ accountId: id, claims: async () => ({ sub: id, ...people[id] }) }),
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (context, client) => (client.clientId === "machine" ? "urn:trigate" : undefined),
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: "llm", audience: "trigate", accessTokenFormat: format }),
    },
  },
  issueRefreshToken: async (context, client, code) => code.scopes.has("offline_access"),
  cookies: { keys: ["key of the tests"] },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
