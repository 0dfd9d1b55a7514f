//! What a person reads when the server is up: where it is, with which key, and lines to paste.

use std::path::Path;

/// Prints the endpoint, the access key and ready-to-paste lines for aws, rclone and curl. The secret is printed only
/// where it was made just now. `trusted` is the certificate that clients must be given, if it is one of our own.
pub fn print(endpoint: &str, trusted: Option<&Path>, region: &str, access_key: &str, new_secret: Option<&str>) {
    // No environment variable for all: rclone does not start where the aws CLI's is set.
    let option = |option: &str| trusted.map_or(String::new(), |file| format!("{option} '{}' ", file.display()));
    let (aws, rclone, curl) = (option("--ca-bundle"), option("--ca-cert"), option("--cacert"));
    let secret = new_secret.unwrap_or("<SECRET KEY>");
    println!("Cairn is ready.\n");
    println!("  Endpoint    {endpoint}");
    if let Some(file) = trusted {
        println!("  Certificate {}    (self-signed: clients must be told to trust it)", file.display());
    }
    println!("  Access key  {access_key}");
    match new_secret {
        Some(secret) => {
            println!("  Secret key  {secret}    (shown this once; kept in root-credentials of the first directory)")
        }
        None => {
            println!("  The secret is what was set, or the one in the file root-credentials of the first directory.")
        }
    }
    println!(
        "
Paste into a shell:

  export AWS_ACCESS_KEY_ID={access_key} AWS_SECRET_ACCESS_KEY='{secret}' AWS_DEFAULT_REGION={region} AWS_ENDPOINT_URL={endpoint}
  aws {aws}s3 mb s3://my-bucket
  aws {aws}s3 cp README.md s3://my-bucket/

  export RCLONE_CONFIG_CAIRN_TYPE=s3 RCLONE_CONFIG_CAIRN_PROVIDER=Other RCLONE_CONFIG_CAIRN_ENV_AUTH=true RCLONE_CONFIG_CAIRN_ENDPOINT={endpoint} RCLONE_CONFIG_CAIRN_REGION={region}
  rclone {rclone}ls cairn:my-bucket

  curl {curl}--aws-sigv4 aws:amz:{region}:s3 --user \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\" -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' -T README.md {endpoint}/my-bucket/copy.md
"
    );
}
