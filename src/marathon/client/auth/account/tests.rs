//! What is signed, against what `openssl dgst -sha256 -sign` made of the same text with the same key; and how long a
//! token lives.

use super::*;

/// A key that was made for this test and opens nothing.
pub(in crate::marathon::client) const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC0hwLOWd/WnGYc\n\
KRsYLYZTyqCEvknXVgeFNG3/ytIN5lR/LtLAFqf5EchLL2Ua0o+Au67v5dVzZkXf\n\
UNwBRi55s4g+5IJM7Zz6GPG3UgBQ2L/yfULKqCqHv6sQs/B6xaxddpX0/p9FCdEE\n\
zrseRlXfSZM+vjUHLeknwQioiQdPKH91Djwg9GgV332XgCHI4T2QJJaJWthGoKwh\n\
JGNiQTUk1aoH4Z7drJI98h62hJj3SzQYj7eIJFt0aVvEkF9X42Q3ssThl5PYKB8f\n\
am0N12K8MI4voWQ2dhPDQ0kCFkIfwD5hB+4HrtxJVVfPwlS1QjsFqeQHkJeKnEk+\n\
W0LiOMYLAgMBAAECggEAARf4NA5igDcMpJ0pIsAfKBfhOCZjDIWrWruZFCBhv0D7\n\
wvkMGar6KhdvYLyz1NCdWFSV3yzUayN8RwHyao5BZStkBZT+lmN0/MEN4zTUrxgA\n\
tVV4BBgltXawVOSjNlX5Op/Okatc9GHJ3SHrC3N+ivFgZskDX+DeTSMn/j/9vcHn\n\
UDVJldpXmPUOHvS2rS0Ru0U8cbAR56cSGxMLGMxUUUP3Pk/Z3TOZfFc/ZxovmvRD\n\
ls4Pl+iSCaU5P/xg46FpUgguLSDo0rxA5aT1W5Tfm/PcmeAUbzRH8Oe8NWBhBki1\n\
NaP6f4lZgfHvvILHsxMWzBIC3e2UFmQT7j6rQsx3oQKBgQD1Q6LzIThFi4fHB99L\n\
66XEKhDbgzW5+5PYv4Tg4tq+wi5bHeKwsubEhgVv4JGFebsqBNWD7EhrzRlrcwEM\n\
welTfAm8QmEwBluC+Ymwv1csneCvipckgK8eUb6LXX09pDO/ZFOieYQNSdkV/vuU\n\
KjboafPPjVUj702rLqPbvxG1qwKBgQC8bfOOLrnXC7kZBrb7TkdLXuvIY76FbhE6\n\
kWyoAyfJQE97wkeYY38egt9STjCTrGi056Tc0ZgnlYKGZOQjcIK9HRhEixy9u2DF\n\
0UchpApJPPkKDtbGAo1EfmKQJ4/iyrIJ8P2Z0aIN5nyBKoiE82LRZ7Q9+utVAyrr\n\
AVONm6ARIQKBgC9UcRKoG3rYNUiETWQSQnf7gitKQ8jzMpHGS7c2L+5V/Koat09Q\n\
BtZv4oa3eH2ggyzVp/qAU21yM/CXTeGPXh59Nke9K5If9/LrgtW35vO2N9DIVuh1\n\
aNXaAoJUdUG6+T169+THvGLwGFN1VElAaD4rjCBGbuKzYHKjWn2ifqFnAoGBAIRh\n\
jvo2U7QEdW9iq02VajtGnco0YVbmxE3se3TyepJGj1D4ZkpmpJlwAquVaUVmnE10\n\
bPwCeK5euMvot+s6EXABr9oADhoyOcPgyuOUlvFrV9+8GyIUCuGzFVYHpWwFUd3w\n\
JItbn0m6w4APvMgDIkrSW+wrjAg26IEgdm4HhwZhAoGAS1E8wDiOV9H/qHCUO+xQ\n\
gI7E8S0n+KcyhPYzuZ0Ls61DgNonxwiTlxJnjfvkMFKXVzmELS3q0YWbJII8qG0+\n\
X+H44ewDpAAGXd5apiC9aNb+RsyWMXeycPxFLZBcMjMtJ2MlsdQzW2wlmI4YNlO8\n\
1wd4SIcy35m7QcgYuxnFe00=\n\
-----END PRIVATE KEY-----\n";

/// What `openssl` makes of header and claims.
const EXPECTED: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjE1Nzc4MzY5MDAsInVpZCI6InJlZ2lzdHJ5In0.\
    ozZVlgt_u8dJH-6Jli952G4Z3iqubpLk4IWxU7eV41DrHKQvizaa8FIJM6dvUHa6bj9buR4GL_Vk0TiUR9OA4I5hmNTmZVvV8XqNX8zOLwuMGGbrTAWZD9CckbzEXJ96IAP49-2T60lgdSLRoQYzibmMdln_XjkTxOUE6rVHJbRk2_AUX1ltG25v7SNKNZRGnvzbDJQyoelfedCqUZzYVcgI1-rBxfU3wwn160NnX-O4lbhMG-lmkQnLVSb4mpoXYX_nVc5k6_WwWkI7tQyvN0snp0Qnri4hEjuZY5IfecNaLhfACf4-Go6miwaR2er9Ai_8eSLEdQ1nQISKgzgREQ";

#[test]
fn the_signature_is_that_of_openssl() {
    assert_eq!(sign("registry", KEY, 1_577_836_900).unwrap(), EXPECTED);
    // Written by other tools: lines that end in CR LF, and space around.
    let windows = format!("\r\n{}\r\n", KEY.replace('\n', "\r\n"));
    assert_eq!(sign("registry", &windows, 1_577_836_900).unwrap(), EXPECTED);
    for bad in ["", "secret", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        assert_eq!(sign("registry", bad, 0), None);
    }
}

#[test]
fn the_life_of_a_token_is_bounded() {
    let clock = Clock::fixed(1_000_000_000);
    let origin = Url::parse("http://m").unwrap();
    let metrics = Metrics::new().unwrap();
    let account = Account::new("x".into(), reqwest_client(), origin, (clock, Entropy::seeded(1), metrics));
    let token = |claims: &str| format!("h.{}.s", BASE64URL_NOPAD.encode(claims.as_bytes()));
    let life = |text: &str| account.life_of(text).as_secs();
    assert_eq!(life(&token("{\"exp\": 1000500}")), 500);
    assert_eq!(life(&token("{\"exp\": 1000500.7}")), 500);
    assert_eq!(life(&token("{\"exp\": 5}")), SHORTEST_LIFE.as_secs());
    assert_eq!(life(&token("{\"exp\": 9000000000000}")), LONGEST_LIFE.as_secs());
    for untold in ["opaque", "a.b.c", "", &token("{}"), &token("{\"exp\": \"soon\"}")] {
        assert_eq!(life(untold), UNTOLD_LIFE.as_secs(), "{untold}");
    }
}

#[test]
fn what_the_iam_says_is_told_in_short_and_without_what_we_sent() {
    let login = Secret::new("aaa.bbb.ccc");
    let told = |text: &str| told(serde_json::from_str(text).ok().as_ref(), text.as_bytes(), &login);
    assert_eq!(
        told(r#"{"title": "Unauthorized", "description": "bad aaa.bbb.ccc", "code": "E"}"#),
        "Unauthorized: bad …"
    );
    assert_eq!(told("<html>\n busy aaa.bbb.ccc"), "<html> busy …");
    assert_eq!(told("{}"), "the answer holds no token");
    assert_eq!(told(&"x".repeat(1000)).len(), 200);
}

fn reqwest_client() -> reqwest::Client {
    crate::marathon::install_tls_provider();
    reqwest::Client::builder().tls_certs_only([]).build().unwrap()
}
