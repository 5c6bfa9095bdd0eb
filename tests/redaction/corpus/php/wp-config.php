<?php
define('DB_NAME', 'wordpress');
define('DB_USER', 'wordpress');
define('DB_PASSWORD', 'wordpress');
define('DB_HOST', 'localhost:3306');
define('AUTH_KEY', 'put your unique phrase here');
define('SECURE_AUTH_KEY', 'put your unique phrase here');
define('COOKIE_DOMAIN', 'localhost');
define('FTP_PASS', 'password');
$table_prefix = 'wp_';
require_once ABSPATH . 'wordpress/wp-settings.php';
$dsn = sprintf('mysql://%s:%s@%s/%s?charset=utf8mb4', DB_USER, DB_PASSWORD, DB_HOST, DB_NAME);
$mirrors = ['https://{user}:{password}@repo.example.com', 'postgres://{}:{}@{}', 'ftp://anonymous:guest@ftp.example.com/pub'];
