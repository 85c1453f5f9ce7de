//! A share's routes: written with it, replaced with it, read with it.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{StoreError, doing, port, uuid};

/// One thing that a share leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRow {
    pub service_name: String,
    pub service: Option<Uuid>,
    pub target_host: String,
    pub target_port: u16,
    pub local_port: Option<u16>,
    pub protocol: String,
}

/// A route as asked for; the same as one that is kept.
pub type NewRoute = RouteRow;

/// The columns of a route as they are read.
type Columns = (String, Option<String>, String, i64, Option<i64>, String);

impl TryFrom<Columns> for RouteRow {
    type Error = StoreError;

    fn try_from(columns: Columns) -> Result<Self, StoreError> {
        let (service_name, service, target_host, target_port, local_port, protocol) = columns;
        Ok(Self {
            service_name,
            service: service.map(|id| uuid(&id, "a route's service")).transpose()?,
            target_host,
            target_port: port(target_port, "a route's port")?,
            local_port: local_port.map(|number| port(number, "a route's local port")).transpose()?,
            protocol,
        })
    }
}

/// The routes of a share, in their order.
pub async fn read(connection: &mut SqliteConnection, share: &str) -> Result<Vec<RouteRow>, StoreError> {
    let rows = sqlx::query_as::<_, Columns>(
        "SELECT service_name, service_id, target_host, target_port, local_port, protocol FROM share_routes \
         WHERE share_id = $1 ORDER BY position",
    )
    .bind(share)
    .fetch_all(connection)
    .await
    .map_err(doing("reading routes"))?;
    rows.into_iter().map(RouteRow::try_from).collect()
}

/// Writes the routes; the name of the first one whose service the workspace does not have is the inner error. A route
/// without an id means the service of that name, if there is one.
pub async fn insert(
    connection: &mut SqliteConnection,
    share: Uuid,
    workspace: &str,
    routes: Vec<NewRoute>,
) -> Result<Result<(), String>, StoreError> {
    for (position, route) in (0_i64..).zip(routes) {
        let RouteRow { service_name, service, target_host, target_port, local_port, protocol } = route;
        let known = sqlx::query_scalar::<_, String>(
            "SELECT id FROM services WHERE workspace_id = $1 AND (id = $2 OR ($2 IS NULL AND name = $3))",
        )
        .bind(workspace)
        .bind(service.map(|id| id.to_string()))
        .bind(&service_name)
        .fetch_optional(&mut *connection)
        .await
        .map_err(doing("looking for a route's service"))?;
        if service.is_some() && known.is_none() {
            return Ok(Err(service_name));
        }
        sqlx::query(
            "INSERT INTO share_routes (share_id, position, service_name, service_id, target_host, target_port, \
             local_port, protocol) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(share.to_string())
        .bind(position)
        .bind(service_name)
        .bind(known)
        .bind(target_host)
        .bind(i64::from(target_port))
        .bind(local_port.map(i64::from))
        .bind(protocol)
        .execute(&mut *connection)
        .await
        .map_err(doing("writing a route"))?;
    }
    Ok(Ok(()))
}
