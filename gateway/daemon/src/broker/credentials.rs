//! Who may connect.

use crate::config::Secret;
use async_trait::async_trait;
use rmqtt::hook::{Handler, HookResult, Parameter, ReturnType};
use rmqtt::types::AuthResult;
use subtle::ConstantTimeEq;

/// Lets in who knows one user's name and password.
pub(super) struct Credentials {
    user: String,
    password: Secret,
}

impl Credentials {
    pub(super) fn new(user: &str, password: &Secret) -> Self {
        Self { user: user.to_owned(), password: password.clone() }
    }
}

#[async_trait]
impl Handler for Credentials {
    async fn hook(&self, parameter: &Parameter, before: Option<HookResult>) -> ReturnType {
        let Parameter::ClientAuthenticate(client) = parameter else { return (true, before) };
        let user = client.username().map_or(&[][..], |user| user.as_bytes());
        let password = client.password().map_or(&[][..], |password| password);
        let is_user = user.ct_eq(self.user.as_bytes());
        let is_password = password.ct_eq(self.password.expose().as_bytes());
        let result = if bool::from(is_user & is_password) {
            AuthResult::Allow(false, None)
        } else {
            AuthResult::BadUsernameOrPassword
        };
        (false, Some(HookResult::AuthResult(result)))
    }
}
